/*
 * A SOCKS client, with and without a listener's password, let through and
 * refused.  The session must come out the same fed whole and in two pieces.
 */
#include <string.h>

#include "proxy/local/socks.h"
#include "tests/fuzz/fuzz.h"

/* All that a client sees, and where its tunnel's data begins. */
struct outcome {
	uint8_t sent[64];
	size_t nsent;
	size_t consumed;
	enum socks_event last;
	struct target target;
};

static void
act(struct socks *s, struct outcome *o, enum socks_event event,
    enum socks_code code)
{
	if (event == SOCKS_AUTHENTICATE) {
		must(strlen(s->user) <= 255 && strlen(s->password) <= 255);
		event = socks_authenticated(s, s->password[0] == 's');
	} else if (event == SOCKS_CONNECT) {
		o->target = s->target;
		must(s->target.host[0] != '\0' && s->target.port != 0);
		event = socks_reply(s, code);
	}
	if (event != SOCKS_NEED_MORE) {
		o->last = event;
		must(s->outlen <= sizeof(o->sent) - o->nsent);
		memcpy(o->sent + o->nsent, s->out, s->outlen);
		o->nsent += s->outlen;
		socks_sent(s);
	}
}

static void
feed(struct socks *s, struct outcome *o, const uint8_t *data, size_t size,
    enum socks_code code)
{
	enum socks_event event;
	size_t consumed;

	while (size > 0) {
		event = socks_feed(s, data, size, &consumed);
		must(consumed <= size);
		if (consumed == 0)
			return;
		act(s, o, event, code);
		o->consumed += consumed;
		data += consumed;
		size -= consumed;
	}
}

static void
run(struct outcome *o, const uint8_t *data, size_t size, size_t split,
    bool password_required, enum socks_code code)
{
	struct socks s;

	memset(o, 0, sizeof(*o));
	socks_init(&s, password_required);
	feed(&s, o, data, split, code);
	feed(&s, o, data + split, size - split, code);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, parts;
	size_t split = fuzz_split(data, size);

	for (unsigned way = 0; way < 4; way++) {
		enum socks_code code = way & 2 ? SOCKS_GENERAL_FAILURE
					       : SOCKS_SUCCEEDED;

		run(&whole, data, size, 0, way & 1, code);
		run(&parts, data, size, split, way & 1, code);
		must(memcmp(&whole, &parts, sizeof(whole)) == 0);
	}
	return 0;
}
