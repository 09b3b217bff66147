#include "tests/hostile/peer.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#define PACKET 1200	   /* bytes that ngtcp2 fills; a forgery comes on top */
#define DATAGRAM_MAX 65536 /* bytes */
#define BATCH 64	   /* datagrams of a peer in one step */
#define EVENTS_MAX 256
#define CID_LEN 8 /* bytes */

/* Time-outs of a few peers are exact, those of many are looked for so often. */
#define FEW 64
#define POLL_FEW 1  /* milliseconds */
#define POLL_MANY 5 /* milliseconds */
#define KEEP_ALIVE (5 * SECOND)

#define LONG_HEADER 0x80			 /* RFC 9000 §17.2 */
#define IS_RETRY(first) (((first)&0xb0) == 0xb0) /* §17.2.5 */
#define TAG_LEN 16				 /* bytes: of a Retry */
#define ACK 0x02	/* RFC 9000 §19.3; 0x03 with ECN counts */
#define ANSWER_200 0xd9 /* RFC 9204 §A: static, 25 */
#define GREASE 0x21	/* RFC 9114 §6.2.3 */
#define BODY_VEC 16384	/* bytes of zeros at a time */

#define PRIORITY \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:" \
	"%DISABLE_TLS13_COMPAT_MODE"

struct tally tally;
struct token retry_token, new_token;

static struct sockaddr_in edge;
static uint64_t over_at;
static gnutls_certificate_credentials_t credentials;
static TAILQ_HEAD(, peer) peers = TAILQ_HEAD_INITIALIZER(peers);
static size_t npeers;
static int poller;
static struct peer *writing; /* the peer whose packets are encrypted */
static uint8_t zeros[BODY_VEC];
static uint8_t datagram[DATAGRAM_MAX];

uint64_t
peer_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

void
peer_begin(const struct sockaddr_in *to, uint64_t end)
{
	struct rlimit files;

	edge = *to;
	over_at = end;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err(1, "epoll_create1");
	if (gnutls_certificate_allocate_credentials(&credentials) != 0)
		errx(1, "no memory for TLS");
}

/* ---- Packets, before they are sealed ---- */

static size_t
integer_len(const uint8_t *at)
{
	return (size_t)1 << (*at >> 6);
}

/* Makes PADDING of the ACK frame that a packet of ngtcp2's begins with. */
static void
blank_ack(uint8_t *payload, size_t len)
{
	size_t at = 1, integers = 4, here;
	uint64_t ranges = 0;

	if (len == 0 || (payload[0] & ~1) != ACK)
		return;
	/* Largest, delay, count, first; then a gap and a length for each. */
	for (size_t i = 0; i < integers && at < len; i++, at += here) {
		here = integer_len(payload + at);
		if (i != 2)
			continue;
		for (size_t k = 0; k < here; k++)
			ranges = ranges << 8 |
			    (k == 0 ? payload[at] & 0x3f : payload[at + k]);
		integers += 2 * ranges + (payload[0] == ACK ? 0 : 3);
	}
	memset(payload, 0, at < len ? at : len);
}

static int
on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *payload, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	static uint8_t altered[DATAGRAM_MAX];
	struct forgery *f = &writing->forgery;

	if ((aad[0] & LONG_HEADER) != 0)
		return ngtcp2_crypto_encrypt_cb(dest, aead, ctx, payload, len,
		    nonce, noncelen, aad, aadlen);
	memcpy(altered, f->data, f->len);
	memcpy(altered + f->len, payload, len);
	if (writing->mute)
		blank_ack(altered + f->len, len);
	if (f->len > 0)
		tally.forged++;
	writing->extra += f->len;
	len += f->len;
	f->len = 0;
	return ngtcp2_crypto_encrypt_cb(dest, aead, ctx, altered, len, nonce,
	    noncelen, aad, aadlen);
}

/* ---- Callbacks of ngtcp2 ---- */

static void
on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	if (getrandom(dest, len, 0) != (ssize_t)len)
		err(1, "getrandom");
}

static int
on_new_id(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t len,
    void *user)
{
	(void)quic, (void)user;
	on_rand(cid->data, len, NULL);
	cid->datalen = len;
	on_rand(token, NGTCP2_STATELESS_RESET_TOKENLEN, NULL);
	return 0;
}

static int
on_handshake_completed(ngtcp2_conn *quic, void *user)
{
	struct peer *p = user;

	(void)quic;
	p->up = true;
	tally.up++;
	return 0;
}

static int
on_new_token(ngtcp2_conn *quic, const uint8_t *data, size_t len, void *user)
{
	(void)quic, (void)user;
	if (len <= sizeof(new_token.data)) {
		new_token.type = NGTCP2_TOKEN_TYPE_NEW_TOKEN;
		new_token.len = len;
		memcpy(new_token.data, data, len);
	}
	return 0;
}

static void
note_answer(struct peer *p, const uint8_t *data, size_t len)
{
	p->answered++;
	if (len > 4 && data[4] == ANSWER_200) {
		tally.tunnels++;
		return;
	}
	p->refused++;
	tally.refused++;
}

static int
on_data(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t offset,
    const uint8_t *data, size_t len, void *user, void *stream)
{
	struct peer *p = user;
	struct stream *s = stream;

	(void)flags, (void)offset;
	if (s != NULL && s->got == 0 && len > 0)
		note_answer(p, data, len);
	if (s != NULL)
		s->got += len;
	if (s == NULL || p->reads)
		ngtcp2_conn_extend_max_stream_offset(quic, id, len);
	return 0;
}

static void
set_pending(struct peer *p, struct stream *s, bool pending)
{
	if (pending && !s->pending)
		TAILQ_INSERT_TAIL(&p->pending, s, pending_entry);
	else if (!pending && s->pending)
		TAILQ_REMOVE(&p->pending, s, pending_entry);
	s->pending = pending;
	p->dirty |= pending;
}

static void
stream_free(struct peer *p, struct stream *s)
{
	set_pending(p, s, false);
	TAILQ_REMOVE(&p->streams, s, entry);
	p->nstreams--;
	free(s);
}

static int
on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code,
    void *user, void *stream)
{
	(void)quic, (void)flags, (void)id, (void)code;
	if (stream != NULL)
		stream_free(user, stream);
	return 0;
}

static int
on_more_room(ngtcp2_conn *quic, int64_t id, uint64_t max, void *user,
    void *stream)
{
	struct stream *s = stream;

	(void)quic, (void)id, (void)max;
	if (s != NULL && s->sent < s->head_len + s->body)
		set_pending(user, s, true);
	return 0;
}

static const ngtcp2_callbacks callbacks = {
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
	.handshake_completed = on_handshake_completed,
	.encrypt = on_encrypt,
	.decrypt = ngtcp2_crypto_decrypt_cb,
	.hp_mask = ngtcp2_crypto_hp_mask_cb,
	.recv_stream_data = on_data,
	.stream_close = on_stream_close,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
	.rand = on_rand,
	.get_new_connection_id = on_new_id,
	.update_key = ngtcp2_crypto_update_key_cb,
	.extend_max_stream_data = on_more_room,
	.recv_new_token = on_new_token,
	.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
};

/* ---- Birth and death ---- */

static ngtcp2_conn *
get_conn(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct peer *)ref->user_data)->quic;
}

static int
open_socket(struct peer *p, uint32_t source)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	socklen_t len = sizeof(p->local);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	p->local = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(source) };
	if (fd < 0 || bind(fd, (struct sockaddr *)&p->local, len) != 0 ||
	    connect(fd, (struct sockaddr *)&edge, sizeof(edge)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&p->local, &len) != 0 ||
	    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static ngtcp2_path
path_of(struct peer *p)
{
	return (ngtcp2_path){
		.local = { (ngtcp2_sockaddr *)&p->local, sizeof(p->local) },
		.remote = { (ngtcp2_sockaddr *)&edge, sizeof(edge) },
	};
}

static int
start_tls(struct peer *p)
{
	gnutls_datum_t alpn = { (unsigned char *)(uintptr_t) "h3", 2 };

	p->ref.get_conn = get_conn;
	p->ref.user_data = p;
	if (gnutls_init(&p->session,
		GNUTLS_CLIENT | GNUTLS_ENABLE_EARLY_DATA |
		    GNUTLS_NO_END_OF_EARLY_DATA) != 0)
		return -1;
	if (ngtcp2_crypto_gnutls_configure_client_session(p->session) != 0 ||
	    gnutls_priority_set_direct(p->session, PRIORITY, NULL) != 0 ||
	    gnutls_credentials_set(p->session, GNUTLS_CRD_CERTIFICATE,
		credentials) != 0 ||
	    gnutls_alpn_set_protocols(p->session, &alpn, 1, 0) != 0)
		return -1;
	gnutls_session_set_ptr(p->session, &p->ref);
	return 0;
}

static int
start_quic(struct peer *p)
{
	const struct peer_options *o = &p->options;
	ngtcp2_path path = path_of(p);
	ngtcp2_cid dcid = { .datalen = CID_LEN }, scid = { .datalen = CID_LEN };
	ngtcp2_transport_params params;
	ngtcp2_settings settings;

	on_rand(dcid.data, CID_LEN, NULL);
	on_rand(scid.data, CID_LEN, NULL);
	ngtcp2_settings_default(&settings);
	settings.initial_ts = peer_now();
	settings.max_tx_udp_payload_size = PACKET;
	settings.no_pmtud = 1;
	if (o->token != NULL) {
		settings.token = o->token->data;
		settings.tokenlen = o->token->len;
		settings.token_type = o->token->type;
	}
	ngtcp2_transport_params_default(&params);
	params.initial_max_data = WINDOW_HUGE;
	params.initial_max_stream_data_bidi_local = o->stream_window;
	params.initial_max_stream_data_uni = WINDOW_HUGE;
	params.initial_max_streams_uni = 3;
	if (o->max_ack_delay > 0)
		params.max_ack_delay = o->max_ack_delay;
	if (ngtcp2_conn_client_new(&p->quic, &dcid, &scid, &path,
		NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params, NULL,
		p) != 0)
		return -1;
	ngtcp2_conn_set_keep_alive_timeout(p->quic, KEEP_ALIVE);
	return 0;
}

struct peer *
peer_new(const struct peer_options *options)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	TAILQ_INIT(&p->streams);
	TAILQ_INIT(&p->pending);
	p->options = *options;
	p->carrier.id = -1;
	p->dirty = true;
	TAILQ_INSERT_TAIL(&peers, p, entry);
	npeers++;
	p->fd = open_socket(p, options->source);
	if (p->fd < 0 || start_tls(p) != 0 || start_quic(p) != 0) {
		peer_vanish(p);
		return NULL;
	}
	ngtcp2_conn_set_tls_native_handle(p->quic, p->session);
	tally.opened++;
	return p;
}

void
peer_vanish(struct peer *p)
{
	while (!TAILQ_EMPTY(&p->streams))
		stream_free(p, TAILQ_FIRST(&p->streams));
	TAILQ_REMOVE(&peers, p, entry);
	npeers--;
	if (p->fd >= 0)
		close(p->fd);
	if (p->quic != NULL)
		ngtcp2_conn_del(p->quic);
	if (p->session != NULL)
		gnutls_deinit(p->session);
	free(p);
}

static void
send_datagram(struct peer *p, size_t len)
{
	if (p->options.foul && !p->up && len < FORGERY_MAX) {
		on_rand(datagram + len, FORGERY_MAX - len, NULL);
		len = FORGERY_MAX;
	}
	if (send(p->fd, datagram, len, 0) > 0)
		tally.bytes_sent += len;
}

void
peer_close(struct peer *p, uint64_t code)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ccerr ccerr;
	ngtcp2_ssize n = 0;

	ngtcp2_ccerr_default(&ccerr);
	ngtcp2_ccerr_set_application_error(&ccerr, code, NULL, 0);
	ngtcp2_path_storage_zero(&ps);
	writing = p;
	p->extra = 0;
	if (!p->over)
		n = ngtcp2_conn_write_connection_close(p->quic, &ps.path, &pi,
		    datagram, PACKET, &ccerr, peer_now());
	if (n > 0)
		send_datagram(p, (size_t)n + p->extra);
	peer_vanish(p);
}

/* ---- Sending ---- */

/* Data of the stream from where it is; returns how many pieces. */
static size_t
view(const struct stream *s, ngtcp2_vec vec[2])
{
	uint64_t body = s->head_len + s->body - s->sent;
	size_t n = 0;

	if (s->sent < s->head_len) {
		vec[n].base = (uint8_t *)(uintptr_t)s->head + s->sent;
		vec[n++].len = s->head_len - s->sent;
		body = s->body;
	}
	if (body > 0) {
		vec[n].base = zeros;
		vec[n++].len = body < BODY_VEC ? (size_t)body : BODY_VEC;
	}
	return n;
}

static bool
ends_with(const struct stream *s, const ngtcp2_vec *vec, size_t n)
{
	uint64_t sent = s->sent;

	for (size_t i = 0; i < n; i++)
		sent += vec[i].len;
	return s->fin && sent == s->head_len + s->body;
}

/* Writes a packet's worth of streams into datagram. */
static ngtcp2_ssize
fill_packet(struct peer *p, uint64_t now)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_vec vec[2];
	ngtcp2_ssize n, taken;
	struct stream *s;
	size_t nvec;

	ngtcp2_path_storage_zero(&ps);
	for (;;) {
		s = TAILQ_FIRST(&p->pending);
		nvec = s != NULL ? view(s, vec) : 0;
		taken = -1;
		n = ngtcp2_conn_writev_stream(p->quic, &ps.path, &pi, datagram,
		    PACKET, &taken,
		    s == NULL ? 0
			: ends_with(s, vec, nvec)
			? NGTCP2_WRITE_STREAM_FLAG_MORE |
			    NGTCP2_WRITE_STREAM_FLAG_FIN
			: NGTCP2_WRITE_STREAM_FLAG_MORE,
		    s != NULL ? s->id : -1, vec, nvec, now);
		if (s != NULL && taken > 0)
			s->sent += (uint64_t)taken;
		if (s != NULL && taken >= 0 && s->sent == s->head_len + s->body)
			set_pending(p, s, false);
		if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED ||
		    n == NGTCP2_ERR_STREAM_SHUT_WR ||
		    n == NGTCP2_ERR_STREAM_NOT_FOUND)
			set_pending(p, s, false);
		else if (n != NGTCP2_ERR_WRITE_MORE)
			return n;
	}
}

static void
give_up(struct peer *p)
{
	const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(p->quic);

	if (!p->over)
		tally.closed++;
	p->over = true;
	p->code = e->error_code;
}

static void
peer_write(struct peer *p)
{
	uint64_t now = peer_now();
	ngtcp2_ssize n = 1;

	writing = p;
	p->dirty = false;
	for (int i = 0; !p->over && !p->corked && n > 0 && i < BATCH; i++) {
		p->extra = 0;
		n = fill_packet(p, now);
		if (n < 0)
			give_up(p);
		else if (n > 0)
			send_datagram(p, (size_t)n + p->extra);
		p->dirty = n > 0;
	}
	if (!p->over)
		ngtcp2_conn_update_pkt_tx_time(p->quic, now);
	p->due = p->over ? UINT64_MAX : ngtcp2_conn_get_expiry(p->quic);
}

/* ---- Receiving ---- */

static void
keep_retry(const uint8_t *data, size_t len)
{
	size_t at = 5;

	if (len < 7 || !IS_RETRY(data[0]))
		return;
	at += 1u + data[at];
	if (at < len)
		at += 1u + data[at];
	if (at + TAG_LEN >= len ||
	    len - at - TAG_LEN > sizeof(retry_token.data))
		return;
	retry_token.type = NGTCP2_TOKEN_TYPE_RETRY;
	retry_token.len = len - at - TAG_LEN;
	memcpy(retry_token.data, data + at, retry_token.len);
}

/* The streams that HTTP/3 opens at once (RFC 9114 §6.2, RFC 9204 §4.2). */
static void
greet(struct peer *p)
{
	static const uint8_t control[] = { 0x00, 0x04, 0x00 };
	static const uint8_t encoder[] = { 0x02 }, decoder[] = { 0x03 };

	if (p->options.raw)
		return;
	peer_open_uni(p, control, sizeof(control), false);
	peer_open_uni(p, encoder, sizeof(encoder), false);
	peer_open_uni(p, decoder, sizeof(decoder), false);
}

static void
peer_read(struct peer *p)
{
	ngtcp2_path path = path_of(p);
	ngtcp2_pkt_info pi = { 0 };
	bool was_up = p->up;
	ssize_t n = 0;

	for (int i = 0; i < BATCH && !p->over; i++) {
		n = recv(p->fd, datagram, sizeof(datagram), MSG_DONTWAIT);
		if (n < 0)
			break;
		tally.bytes_received += (uint64_t)n;
		keep_retry(datagram, (size_t)n);
		if (ngtcp2_conn_read_pkt(p->quic, &path, &pi, datagram,
			(size_t)n, peer_now()) != 0)
			give_up(p);
	}
	if (p->over)
		epoll_ctl(poller, EPOLL_CTL_DEL, p->fd, NULL);
	else if (p->up && !was_up)
		greet(p);
	p->dirty = true;
}

/* ---- Steps ---- */

static void
drive_all(uint64_t now)
{
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&peers); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->over)
			continue;
		if (p->due <= now && !p->corked) {
			if (ngtcp2_conn_handle_expiry(p->quic, now) != 0)
				give_up(p);
			p->dirty = true;
		}
		if (p->dirty)
			peer_write(p);
	}
}

bool
peer_turn(uint64_t until)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t now;
	int n;

	drive_all(peer_now());
	n = epoll_wait(poller, events, EVENTS_MAX,
	    npeers <= FEW ? POLL_FEW : POLL_MANY);
	for (int i = 0; i < n; i++)
		peer_read(events[i].data.ptr);
	drive_all(now = peer_now());
	return now < over_at && now < until;
}

bool
peer_rest(uint64_t ns)
{
	uint64_t until = peer_now() + ns;

	while (peer_turn(until))
		continue;
	return peer_now() < over_at;
}

bool
peer_wait_up(struct peer *p)
{
	while (!p->up && !p->over && peer_turn(UINT64_MAX))
		continue;
	return p->up && !p->over && peer_now() < over_at;
}

/* ---- Streams ---- */

static struct stream *
stream_new(struct peer *p, const uint8_t *head, size_t head_len, uint64_t body,
    bool fin)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		err(1, "calloc");
	s->head = head;
	s->head_len = head_len;
	s->body = body;
	s->fin = fin;
	TAILQ_INSERT_TAIL(&p->streams, s, entry);
	p->nstreams++;
	return s;
}

static struct stream *
opened(struct peer *p, struct stream *s, int rv)
{
	if (rv != 0) {
		stream_free(p, s);
		return NULL;
	}
	if (s->head_len + s->body > 0)
		set_pending(p, s, true);
	return s;
}

struct stream *
peer_open(struct peer *p, const uint8_t *head, size_t head_len, uint64_t body,
    bool fin)
{
	struct stream *s = stream_new(p, head, head_len, body, fin);

	s = opened(p, s,
	    p->over ? -1 : ngtcp2_conn_open_bidi_stream(p->quic, &s->id, s));
	tally.streams += s != NULL;
	return s;
}

struct stream *
peer_open_uni(struct peer *p, const uint8_t *head, size_t head_len, bool fin)
{
	struct stream *s = stream_new(p, head, head_len, 0, fin);

	return opened(p, s,
	    p->over ? -1 : ngtcp2_conn_open_uni_stream(p->quic, &s->id, s));
}

void
peer_more(struct peer *p, struct stream *s, uint64_t body, bool fin)
{
	s->body += body;
	s->fin = fin;
	set_pending(p, s, true);
}

bool
peer_forge(struct peer *p, const struct forgery *f)
{
	static const uint8_t grease[] = { GREASE };

	if (p->over || !p->up)
		return false;
	if (p->carrier.id < 0) {
		p->carrier.head = grease;
		p->carrier.head_len = sizeof(grease);
		if (ngtcp2_conn_open_uni_stream(p->quic, &p->carrier.id,
			NULL) != 0)
			return false;
	}
	p->forgery = *f;
	p->carrier.body++;
	set_pending(p, &p->carrier, true);
	peer_write(p);
	return p->forgery.len == 0;
}

void
peer_move(struct peer *p, uint32_t source)
{
	int fd = open_socket(p, source);
	ngtcp2_path path = path_of(p);

	if (fd < 0)
		return;
	close(p->fd);
	p->fd = fd;
	ngtcp2_conn_initiate_immediate_migration(p->quic, &path, peer_now());
	p->dirty = true;
}
