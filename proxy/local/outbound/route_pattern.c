#include "proxy/local/outbound/route_pattern.h"

#include <string.h>

#include <idn2.h>

#include "proxy/base/address_rule.h"

/* Octets of a name without the dot at its end (RFC 1034 §3.1), of a label. */
#define NAME_MAX_OCTETS 253
#define LABEL_MAX_OCTETS 63

static const char no_pattern[] =
    "this is neither a name nor an address nor a network";

static bool
is_address(const char *s)
{
	const char *colon = strchr(s, ':');

	return s[0] == '[' || strchr(s, '/') != NULL ||
	    (colon != NULL && strchr(colon + 1, ':') != NULL) ||
	    (s[0] != '.' && s[strspn(s, "0123456789.")] == '\0') ||
	    (colon != NULL && colon > s && s[0] != '.' &&
		s + strspn(s, "0123456789.") == colon);
}

static void
set_ports(struct route_pattern *p, const struct rule *rule)
{
	p->first_port = rule->any_port ? 0 : rule->first;
	p->last_port = rule->any_port ? UINT16_MAX : rule->last;
}

static const char *
parse_address(struct route_pattern *p, const char *s)
{
	struct rule rule;

	if (rule_parse(&rule, s) != 0)
		return strchr(s, '/') != NULL
		    ? "this is not a network, ADDRESS/LENGTH with no bit set "
		      "after the length, and no ports"
		    : no_pattern;
	p->kind = ROUTE_NETWORK;
	p->network = rule.range;
	set_ports(p, &rule);
	return NULL;
}

static void
lower(char *name)
{
	for (; *name != '\0'; name++)
		if (*name >= 'A' && *name <= 'Z')
			*name = (char)(*name - 'A' + 'a');
}

/* Labels of RFC 1034, with '_', which names of services have. */
static const char *
check_name(const char *name, size_t len)
{
	size_t label = 0;

	if (len == 0 || len > NAME_MAX_OCTETS)
		return no_pattern;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '*')
			return "a * stands alone, or before the first dot";
		if (name[i] == '.' ? label == 0
				   : strchr("abcdefghijklmnopqrstuvwxyz"
					    "0123456789-_",
					 name[i]) == NULL)
			return no_pattern;
		label = name[i] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX_OCTETS)
			return "a label of a name has at most 63 characters";
	}
	return label == 0 ? no_pattern : NULL;
}

static bool
is_ascii(const char *s)
{
	while (*s > 0)
		s++;
	return *s == '\0';
}

/* Makes A-labels of a name, in place. */
static const char *
make_ascii(char name[ROUTE_PATTERN_MAX + 1])
{
	size_t len;
	char *ascii;

	if (is_ascii(name))
		return NULL;
	if (idn2_to_ascii_8z(name, &ascii, IDN2_NONTRANSITIONAL) != IDN2_OK)
		return "this is no name of the Internet: UTS 46 does not "
		       "allow it";
	len = strlen(ascii);
	if (len <= ROUTE_PATTERN_MAX)
		memcpy(name, ascii, len + 1);
	idn2_free(ascii);
	return len <= ROUTE_PATTERN_MAX ? NULL : no_pattern;
}

static const char *
parse_name(struct route_pattern *p, char *s)
{
	const char *wrong = make_ascii(s);
	size_t len = strlen(s);

	if (wrong != NULL)
		return wrong;
	lower(s);
	if (len > 1 && s[len - 1] == '.')
		s[--len] = '\0';
	if ((wrong = check_name(s, len)) != NULL)
		return wrong;
	p->kind = ROUTE_NAME;
	memcpy(p->name, s, len + 1);
	return NULL;
}

static const char *
parse_names(struct route_pattern *p, char *s)
{
	struct rule ports = { .any_port = true };
	char *colon = strrchr(s, ':');

	if (colon != NULL && rule_parse(&ports, colon) != 0)
		return "a port is a number from 1 to 65535, or two of them: "
		       "FROM-TO";
	set_ports(p, &ports);
	if (colon != NULL)
		*colon = '\0';
	if (s[0] == '\0' || strcmp(s, "*") == 0)
		return NULL;
	p->below = s[0] == '.' || strncmp(s, "*.", 2) == 0;
	p->itself = s[0] != '*' || s[1] != '.';
	return parse_name(p, s + (p->below ? 1 : 0) + (p->itself ? 0 : 1));
}

const char *
route_pattern_parse(struct route_pattern *p, const char *s, size_t len)
{
	char text[ROUTE_PATTERN_MAX + 1];

	*p = (struct route_pattern){ .kind = ROUTE_EVERYTHING };
	if (len == 0 || memchr(s, '\0', len) != NULL)
		return no_pattern;
	if (len > ROUTE_PATTERN_MAX)
		return "this is longer than a name can be";
	memcpy(text, s, len);
	text[len] = '\0';
	return is_address(text) ? parse_address(p, text) : parse_names(p, text);
}
