#include "proxy/local/pac.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes for what follows the rules. */
#define PAC_END_MAX 2048

/* Bits of ::ffff:0:0/96, with which addresses of IPv4 begin. */
#define IPV4_PREFIX 96

struct text {
	char *s;
	size_t len, size;
	bool full; /* something did not fit, and nothing follows */
};

__attribute__((format(printf, 2, 3))) static void
put(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	if (t->full)
		return;
	va_start(args, fmt);
	n = vsnprintf(t->s + t->len, t->size - t->len, fmt, args);
	va_end(args);
	t->full = n < 0 || (size_t)n >= t->size - t->len;
	if (!t->full)
		t->len += (size_t)n;
}

/*
 * h is the host as culvert compares it, o the port, v the address as 128 binary
 * digits, or empty. Browsers leave out the port that the scheme has by default.
 */
static const char pac_begin[] =
    "function FindProxyForURL(url, host) {\n"
    "\tvar h = host.toLowerCase().replace(/^\\[|\\]$|\\.$/g, \"\");\n"
    "\tvar m = /^(\\w+):\\/\\/(?:[^\\/?#@]*@)?(?:\\[[^\\]]*\\]|[^:\\/?#]*)"
    "(?::(\\d+))?/.exec(url) || [];\n"
    "\tvar o = +m[2] || { http: 80, ws: 80, ftp: 21 }[m[1]] || 443;\n"
    "\tvar v = bits(h);\n"
    "\tfunction digits(n, len) {\n"
    "\t\tvar s = (+n).toString(2);\n"
    "\t\twhile (s.length < len)\n"
    "\t\t\ts = \"0\" + s;\n"
    "\t\treturn s;\n"
    "\t}\n"
    "\tfunction bits(h) {\n"
    "\t\tvar q = /^(.*:)?(\\d+)\\.(\\d+)\\.(\\d+)\\.(\\d+)$/.exec(h);\n"
    "\t\tvar s = \"\", i, a, b;\n"
    "\t\tif (q && !q[1])\n"
    "\t\t\th = \"::ffff:1.1.1.1\";\n"
    "\t\tif (q)\n"
    "\t\t\th = h.replace(/[^:]*$/, (q[2] * 256 + +q[3]).toString(16) +\n"
    "\t\t\t    \":\" + (q[4] * 256 + +q[5]).toString(16));\n"
    "\t\tif (h.indexOf(\":\") < 0)\n"
    "\t\t\treturn \"\";\n"
    "\t\ta = h.split(\"::\");\n"
    "\t\tb = a[1] ? a[1].split(\":\") : [];\n"
    "\t\ta = a[0] ? a[0].split(\":\") : [];\n"
    "\t\twhile (a.length + b.length < 8)\n"
    "\t\t\ta.push(\"0\");\n"
    "\t\ta = a.concat(b);\n"
    "\t\tfor (i = 0; i < 8; i++)\n"
    "\t\t\ts += digits(parseInt(a[i], 16), 16);\n"
    "\t\treturn s;\n"
    "\t}\n"
    "\tfunction below(name) {\n"
    "\t\treturn v == \"\" && h.slice(-name.length - 1) == \".\" + name;\n"
    "\t}\n"
    "\tfunction net(prefix) {\n"
    "\t\tvar four = /^0{80}1{16}/;\n"
    "\t\treturn v != \"\" && v.indexOf(prefix) == 0 &&\n"
    "\t\t    (prefix.length >= 96 || !four.test(v));\n"
    "\t}\n";

/*
 * What is found only on this machine or in its own network: names without a
 * dot, names that no public name server knows (RFC 6761, RFC 6762, RFC 8375),
 * and addresses that culvert-edge does not allow. Literals are compared as
 * text: isInNet() would look names up here.
 */
static const char pac_private[] =
    "\tif (h.indexOf(':') < 0 && isPlainHostName(h) ||\n"
    "\t    /\\.(localhost|local|internal|home\\.arpa)$/.test(h) ||\n"
    "\t    /^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(h) &&\n"
    "\t    /^(0|10|127|169\\.254|172\\.(1[6-9]|2\\d|3[01])|192\\.168|"
    "100\\.(6[4-9]|[7-9]\\d|1[01]\\d|12[0-7]))\\./.test(h) ||\n"
    "\t    /^(::1?$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:)/.test(h))\n"
    "\t\treturn \"DIRECT\";\n";

static void
put_network(struct text *t, const struct cidr *network)
{
	char prefix[128 + 1] = "";

	for (unsigned i = 0; i < network->prefix; i++)
		prefix[i] = network->addr[i / 8] >> (7 - i % 8) & 1 ? '1' : '0';
	put(t, "net(\"%s\")", prefix);
}

static void
put_name(struct text *t, const struct route_pattern *p)
{
	if (p->itself && p->below)
		put(t, "(h == \"%s\" || below(\"%s\"))", p->name, p->name);
	else if (p->itself)
		put(t, "h == \"%s\"", p->name);
	else
		put(t, "below(\"%s\")", p->name);
}

static void
put_pattern(struct text *t, const struct route_pattern *p)
{
	switch (p->kind) {
	case ROUTE_EVERYTHING:
		put(t, "true");
		break;
	case ROUTE_NAME:
		put_name(t, p);
		break;
	case ROUTE_NETWORK:
		put_network(t, &p->network);
		break;
	}
	if (p->first_port == p->last_port)
		put(t, " && o == %u", p->first_port);
	else if (p->first_port > 0)
		put(t, " && o >= %u && o <= %u", p->first_port, p->last_port);
}

/* Patterns with one outcome are one condition. False: not all of them fit. */
static bool
put_rules(struct text *t, const struct route_rules *rules)
{
	const struct route_shown *shown;
	size_t n, at, fits;
	bool direct;

	shown = route_rules_shown(rules, &n);
	for (size_t i = 0; i < n && !t->full; i = at) {
		direct = shown[i].action == ROUTE_DIRECT;
		fits = t->len;
		put(t, "\tif (");
		for (at = i; at < n &&
		     direct == (shown[at].action == ROUTE_DIRECT) && !t->full;
		     at++) {
			put(t, "%s", at > i ? " ||\n\t    " : "");
			put_pattern(t, &shown[at].pattern);
		}
		put(t, ")\n\t\treturn %s;\n", direct ? "\"DIRECT\"" : "p");
		if (t->full)
			t->len = fits;
	}
	return !t->full && n == route_rules_count(rules);
}

size_t
pac_write(const struct pac *pac, char out[PAC_MAX])
{
	struct text t = { .s = out, .size = PAC_MAX - PAC_END_MAX };
	bool whole = true;

	put(&t, "%s", pac_begin);
	put(&t, "\tvar p = \"%s%s%sPROXY %s\";\n",
	    pac->password ? "" : "SOCKS5 ", pac->password ? "" : pac->listener,
	    pac->password ? "" : "; ", pac->listener);
	if (pac->rules != NULL)
		whole = put_rules(&t, pac->rules);
	t.full = false;
	t.size = PAC_MAX;
	if (!pac->all && whole)
		put(&t, "%s", pac_private);
	put(&t, "\treturn p;\n}\n");
	return t.len;
}
