#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/local/outbound/route_rules.h"

static struct route_rules *rules;
static char told[4096]; /* the errors, a line each */

static int
teardown(void **state)
{
	(void)state;
	route_rules_free(rules);
	rules = NULL;
	told[0] = '\0';
	return 0;
}

static void
tell(void *arg, const char *file, unsigned line, const char *what)
{
	size_t len = strlen(told);

	(void)arg;
	snprintf(told + len, sizeof(told) - len, "%s:%u: %s\n", file, line,
	    what);
}

static int
open_file(const char *path)
{
	int fd = open(path, O_RDONLY);

	return fd >= 0 ? fd : -errno;
}

static const char *
explain(int error)
{
	return strerror(error);
}

static const struct route_reader reader = {
	.open = open_file,
	.strerror = explain,
	.complain = tell,
};

static int
parse(const char *text)
{
	told[0] = '\0';
	return route_rules_parse(&rules, "work.rules", text, strlen(text),
	    &reader);
}

/* What the rules say of a target: "block 3", "edge:eu 1", or "none". */
static const char *
find(const char *host, uint16_t port)
{
	static const char *const actions[] = { "tunnel", "edge", "direct",
		"block" };
	static char answer[128];
	struct target target;
	struct route_rule rule;

	assert_int_equal(target_set(&target, host, strlen(host), port), 0);
	if (!route_rules_find(rules, &target, &rule))
		return "none";
	snprintf(answer, sizeof(answer), "%s%s%s %u", actions[rule.action],
	    rule.edge != NULL ? ":" : "", rule.edge != NULL ? rule.edge : "",
	    rule.line);
	return answer;
}

static void
the_first_rule_decides(void **state)
{
	(void)state;
	assert_int_equal(parse("# of work\n"
			       "direct   *.corp.example 10.0.0.0/8 localhost\n"
			       "\n"
			       "block\tads.example *.tracker.example # both\r\n"
			       "edge:eu  *.example.org:443\n"
			       "edge:us  .us.example\n"
			       "edge:eu  .eu.example\n"
			       "tunnel   *"),
	    0);
	assert_string_equal(told, "");
	assert_string_equal(find("a.corp.example", 1), "direct 2");
	assert_string_equal(find("10.1.2.3", 1), "direct 2");
	assert_string_equal(find("LOCALHOST", 1), "direct 2");
	assert_string_equal(find("ads.example", 1), "block 4");
	assert_string_equal(find("a.b.tracker.example", 1), "block 4");
	assert_string_equal(find("www.example.org", 443), "edge:eu 5");
	assert_string_equal(find("www.example.org", 80), "tunnel 8");
	assert_string_equal(find("us.example", 80), "edge:us 6");
	assert_string_equal(find("eu.example", 80), "edge:eu 7");
	assert_string_equal(find("both", 80), "tunnel 8");
	assert_string_equal(route_rules_edge(rules, 0), "eu");
	assert_string_equal(route_rules_edge(rules, 1), "us");
	assert_null(route_rules_edge(rules, 2));
	assert_string_equal(route_rules_file(rules, 0), "work.rules");
	assert_null(route_rules_file(rules, 1));
	assert_int_equal(route_rules_count(rules), 9);
}

static void
no_rule_covers_it(void **state)
{
	(void)state;
	assert_int_equal(parse("\xef\xbb\xbf# empty\n"), 0);
	assert_string_equal(find("www.example.org", 80), "none");
	route_rules_free(rules);
	assert_int_equal(parse("\xef\xbb\xbf"
			       "block a.example"),
	    0);
	assert_string_equal(find("a.example", 80), "block 1");
	assert_string_equal(find("b.example", 80), "none");
}

static void
errors_name_file_and_line(void **state)
{
	static const struct {
		const char *text, *told;
	} rows[] = {
		{ "\ndirect",
		    "work.rules:2: the rule has no pattern behind "
		    "its action\n" },
		{ "allow *",
		    "work.rules:1: allow is no action: tunnel, "
		    "edge:NAME, direct or block\n" },
		{ "edge: *",
		    "work.rules:1: the name of an edge has 1 to 63 "
		    "characters\n" },
		{ "Direct *",
		    "work.rules:1: Direct is no action: tunnel, "
		    "edge:NAME, direct or block\n" },
		{ "block a:99999",
		    "work.rules:1: a:99999: a port is a number "
		    "from 1 to 65535, or two of them: FROM-TO\n" },
		{ "block a*b\nblock c d*",
		    "work.rules:1: a*b: a * stands "
		    "alone, or before the first dot\n"
		    "work.rules:2: d*: a * stands "
		    "alone, or before the first dot\n" },
		{ "block @",
		    "work.rules:1: @ needs the name of a file behind "
		    "it\n" },
		{ "block @work.rules",
		    "work.rules:0: the rules file cannot be "
		    "a list of itself\n" },
		{ "block @/nowhere/list",
		    "/nowhere/list:0: No such file or "
		    "directory\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].text), -EINVAL);
		assert_string_equal(told, rows[i].told);
		assert_null(rules);
	}
	assert_int_equal(route_rules_parse(&rules, "x", "block a\0b", 9,
			     &reader),
	    -EINVAL);
}

/* A file that is no rules file does not fill the terminal. */
static void
not_every_error_is_told(void **state)
{
	char text[3000] = "";
	size_t lines = 0;

	(void)state;
	while (strlen(text) + 10 < sizeof(text))
		strcat(text, "nothing\n");
	assert_int_equal(parse(text), -EINVAL);
	for (const char *s = told; *s != '\0'; s++)
		lines += *s == '\n';
	assert_int_equal(lines, 10);
}

/* ---- Files ---- */

static char directory[] = "/tmp/culvert-rules-XXXXXX";

static void
write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int
load(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	told[0] = '\0';
	return route_rules_load(&rules, path, &reader);
}

static void
lists(void **state)
{
	char path[128];

	(void)state;
	write_file("work.rules",
	    "direct @plain\nblock @hosts x.example @plain "
	    "\ntunnel *\n");
	write_file("plain", "a.example\n*.b.example:80 10.0.0.0/8\n# c\n");
	write_file("hosts",
	    "127.0.0.1 localhost\n::1 ip6-localhost\n"
	    "0.0.0.0 0.0.0.0\nfe80::1%lo0 localhost\n"
	    "0.0.0.0 ads.example # x\n"
	    "0.0.0.0\ttracker.example other.example\r\n"
	    "192.0.2.1\n");
	assert_int_equal(load("work.rules"), 0);
	assert_string_equal(find("a.example", 1), "direct 1");
	assert_string_equal(find("x.b.example", 80), "direct 2");
	assert_string_equal(find("10.1.1.1", 80), "direct 2");
	assert_string_equal(find("localhost", 80), "tunnel 3");
	assert_string_equal(find("ads.example", 80), "block 5");
	assert_string_equal(find("other.example", 80), "block 6");
	assert_string_equal(find("192.0.2.1", 80), "block 7");
	assert_string_equal(find("x.example", 80), "block 2");
	snprintf(path, sizeof(path), "%s/hosts", directory);
	assert_string_equal(route_rules_file(rules, 2), path);
	assert_null(route_rules_file(rules, 3));
}

static void
errors_in_a_list(void **state)
{
	char expected[256];

	(void)state;
	write_file("work.rules", "block @plain\n");
	write_file("plain", "a.example\n@other\n");
	assert_int_equal(load("work.rules"), -EINVAL);
	snprintf(expected, sizeof(expected),
	    "%s/plain:2: @other: this is neither a name nor an address nor a "
	    "network\n",
	    directory);
	assert_string_equal(told, expected);
	write_file("plain", "10.0.0.1 10.0.0.2\n");
	assert_int_equal(load("work.rules"), -EINVAL);
	assert_non_null(strstr(told,
	    "plain:1: 10.0.0.2: one address in a line "
	    "is enough"));
	assert_int_equal(load("nothing"), -EINVAL);
	snprintf(expected, sizeof(expected),
	    "%s/nothing:0: No such file or directory\n", directory);
	assert_string_equal(told, expected);
	write_file("work.rules", "block @.\n");
	assert_int_equal(load("work.rules"), -EINVAL);
	snprintf(expected, sizeof(expected),
	    "%s/.:0: this is not a regular file\n", directory);
	assert_string_equal(told, expected);
}

static int
group_setup(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL;
}

static int
group_teardown(void **state)
{
	static const char *const names[] = { "work.rules", "plain", "hosts" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_first_rule_decides, teardown),
		cmocka_unit_test_teardown(no_rule_covers_it, teardown),
		cmocka_unit_test_teardown(errors_name_file_and_line, teardown),
		cmocka_unit_test_teardown(not_every_error_is_told, teardown),
		cmocka_unit_test_teardown(lists, teardown),
		cmocka_unit_test_teardown(errors_in_a_list, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
