#include <string.h>

#include "proxy/span.h"

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_token_char(char c)
{
	if ((lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

bool
span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

bool
span_is_nocase(struct span s, const char *text)
{
	return s.len == strlen(text) && span_begins_nocase(s, text);
}

bool
span_equal_nocase(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool
span_begins_nocase(struct span s, const char *text)
{
	struct span prefix = { text, strlen(text) };

	if (s.len < prefix.len)
		return false;
	s.len = prefix.len;
	return span_equal_nocase(s, prefix);
}

bool
span_is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_token_char(s.p[i]))
			return false;
	return s.len > 0;
}

bool
span_number(struct span s, size_t max_digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (i == max_digits || s.p[i] < '0' || s.p[i] > '9')
			return false;
		*value = *value * 10 + (uint64_t)(s.p[i] - '0');
	}
	return s.len > 0;
}

struct span
span_trim(struct span s)
{
	while (s.len > 0 && is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

struct span
span_cut(struct span *rest, char c)
{
	struct span s = *rest;
	const char *end = s.len > 0 ? memchr(s.p, c, s.len) : NULL;

	if (end == NULL) {
		*rest = (struct span){ NULL, 0 };
		return s;
	}
	s.len = (size_t)(end - s.p);
	rest->p += s.len + 1;
	rest->len -= s.len + 1;
	return s;
}
