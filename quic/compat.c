#include "quic/compat.h"

#include "quic/internal.h"

#define NGTCP2_DETECTS_IDLE 0x011200 /* 1.18.0 */

/* The largest payload of UDP: no path carries it with its headers. */
#define PROBE_THAT_NEVER_FITS (UINT16_MAX - PATH_HEADERS_MIN) /* bytes */

/*
 * Errors that are ignored for one connection: each takes an ID from us, and
 * without a spare one no path can be changed.
 */
#define ID_ERRORS_MAX (PEER_IDS_MAX - 2)

void
compat_disable_pmtud(ngtcp2_settings *settings, uint16_t *probes)
{
	probes[0] = PROBE_THAT_NEVER_FITS;
	settings->pmtud_probes = probes;
	settings->pmtud_probeslen = 1;
}

void
compat_raise_peer_max(const ngtcp2_transport_params *peer, uint64_t size)
{
	if (peer->max_udp_payload_size < size)
		((ngtcp2_transport_params *)(uintptr_t)peer)
		    ->max_udp_payload_size = size;
}

bool
compat_misses_idle(void)
{
	return ngtcp2_version(0)->version_num < NGTCP2_DETECTS_IDLE;
}

bool
compat_ignores_id_limit(int rv, unsigned *ignored)
{
	return rv == NGTCP2_ERR_CONNECTION_ID_LIMIT &&
	    (*ignored)++ < ID_ERRORS_MAX;
}

bool
compat_is_stopped(ngtcp2_ssize rv)
{
	return rv == NGTCP2_ERR_STREAM_NOT_FOUND ||
	    rv == NGTCP2_ERR_STREAM_SHUT_WR;
}
