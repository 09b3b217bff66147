#ifndef CULVERT_PROXY_LOCAL_HTTP_STATUS_H
#define CULVERT_PROXY_LOCAL_HTTP_STATUS_H

struct connect_error;

/*
 * The status for a tunnel or an exchange that failed: the one that RFC 9209
 * recommends for the type, but 403 where the edge does not allow it. The edge's
 * own status is used where the type determines none, if it is an error.
 */
int http_status_of(const struct connect_error *);

#endif
