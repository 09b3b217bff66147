#include <string.h>

#include "proxy/base/slice.h"

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
slice_is(struct slice s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

bool
slice_is_nocase(struct slice s, const char *text)
{
	return s.len == strlen(text) && slice_begins_nocase(s, text);
}

bool
slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool
slice_begins_nocase(struct slice s, const char *text)
{
	struct slice prefix = { text, strlen(text) };

	if (s.len < prefix.len)
		return false;
	s.len = prefix.len;
	return slice_equal_nocase(s, prefix);
}

bool
slice_is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_token_char(s.p[i]))
			return false;
	return s.len > 0;
}

bool
slice_number(struct slice s, size_t max_digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (i == max_digits || s.p[i] < '0' || s.p[i] > '9')
			return false;
		*value = *value * 10 + (uint64_t)(s.p[i] - '0');
	}
	return s.len > 0;
}

struct slice
slice_trim(struct slice s)
{
	while (s.len > 0 && is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

struct slice
slice_cut(struct slice *rest, char c)
{
	struct slice s = *rest;
	const char *end = s.len > 0 ? memchr(s.p, c, s.len) : NULL;

	if (end == NULL) {
		*rest = (struct slice){ NULL, 0 };
		return s;
	}
	s.len = (size_t)(end - s.p);
	rest->p += s.len + 1;
	rest->len -= s.len + 1;
	return s;
}
