#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/config/config.h"
#include "proxy/config/option.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ARGS_MAX 80 /* arguments of a command line in this file */

/* The base64 of 32 zero octets, and of 32 times 0xff. */
#define PIN_ZEROS "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_ONES "sha256////////////////////////////////////////////8="

/* A configuration whose streams are memory. */
struct fixture {
	struct config config;
	char *out, *err;
	size_t outlen, errlen;
	char dir[32], path[64];
	char words[ARGS_MAX][600]; /* argv, for it is written to */
};

static struct fixture f;

static void
begin(enum config_program program)
{
	config_init(&f.config, program);
	f.config.out = open_memstream(&f.out, &f.outlen);
	f.config.err = open_memstream(&f.err, &f.errlen);
}

static void
end(void)
{
	fclose(f.config.out);
	fclose(f.config.err);
	free(f.out);
	free(f.err);
	config_free(&f.config);
}

static const char *
errors(void)
{
	fflush(f.config.err);
	return f.err;
}

static int
setup(void **state)
{
	(void)state;
	unsetenv("XDG_RUNTIME_DIR");
	strcpy(f.dir, "/tmp/test_config.XXXXXX");
	if (mkdtemp(f.dir) == NULL)
		return -1;
	snprintf(f.path, sizeof(f.path), "%s/file", f.dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(f.path);
	return rmdir(f.dir);
}

static void
write_file(const char *text)
{
	FILE *file = fopen(f.path, "w");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f.path, 0600), 0);
}

/* Loads a command line; words are separated by one blank, "@" is the file. */
static int
load(const char *line)
{
	char *argv[ARGS_MAX + 1], copy[2048], *word, *rest = copy;
	int argc = 0;

	assert_true(strlen(line) < sizeof(copy));
	memset(f.words, 0, sizeof(f.words));
	strcpy(copy, line);
	while ((word = strsep(&rest, " ")) != NULL) {
		assert_true(argc < ARGS_MAX);
		snprintf(f.words[argc], sizeof(f.words[argc]), "%s",
		    strcmp(word, "@") == 0 ? f.path : word);
		argv[argc] = f.words[argc];
		argc++;
	}
	argv[argc] = NULL;
	return config_load(&f.config, argc, argv);
}

static int
parse(const char *text)
{
	return config_parse(&f.config, text, strlen(text), "x.conf");
}

static const char *
listen_at(unsigned i)
{
	static char text[ADDR_STRLEN];

	assert_true(i < f.config.listen.n);
	return addr_format((struct sockaddr *)&f.config.listen.v[i], text);
}

static void
defaults(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e edge.example"), 0);
	assert_string_equal(errors(), "");
	assert_int_equal(f.config.listen.n, 1);
	assert_string_equal(listen_at(0), "127.0.0.1:1080");
	assert_string_equal(f.config.control, "/run/culvert/control.sock");
	assert_int_equal(f.config.edge.n, 1);
	assert_string_equal(f.config.edge.v[0].host, "edge.example");
	assert_int_equal(f.config.edge.v[0].port, 443);
	assert_int_equal(f.config.cc, QUIC_CC_BBR);
	assert_int_equal(f.config.mtu_max, 0);
	assert_null(f.config.ca);
	assert_int_equal(f.config.grace, 5);
	assert_int_equal(f.config.connections, 4);
	assert_int_equal(f.config.spread, CONFIG_SPREAD_AUTO);
	end();
	begin(CONFIG_CULVERT_EDGE);
	assert_int_equal(load("culvert-edge --self-signed --open"), 0);
	assert_int_equal(f.config.listen.n, 1);
	assert_string_equal(listen_at(0), "[::]:443");
	end();
}

static void
flags_set_every_field(void **state)
{
	static const uint8_t zeros[QUIC_PIN_LEN];
	uint8_t ones[QUIC_PIN_LEN];

	(void)state;
	write_file("");
	memset(ones, 0xff, sizeof(ones));
	begin(CONFIG_CULVERT);
	assert_int_equal(
	    load(
		"culvert -l 127.0.0.1:1 --listen=[::1]:2 "
		"--listen-users @ --control /run/c -e a:1 -e [::1] --ca @ --cert @ "
		"--key @ --pin " PIN_ZEROS " --pin " PIN_ONES " --user b:c:d "
		"--mtu-max 9000 --mtu-min 1280 --no-mtu-probe "
		"--no-ipsec-mb --cc bbr "
		"--interface wlan0 --fwmark 0xca6c --edge-timeout 60 "
		"--qlog /tmp --log-format json -vv -q "
		"--clients-max 1 --clients-per-listener 2 "
		"--clients-per-source 3 --head-max 4096 --head-timeout 4 "
		"--idle-timeout 5 --connect-timeout 6 --tunnel-timeout 7 "
		"--linger-timeout 8 --memory-max 1G"),
	    0);
	assert_string_equal(errors(), "");
	assert_int_equal(f.config.listen.n, 2);
	assert_string_equal(listen_at(0), "127.0.0.1:1");
	assert_string_equal(listen_at(1), "[::1]:2");
	assert_string_equal(f.config.listen_users, f.path);
	assert_string_equal(f.config.control, "/run/c");
	assert_int_equal(f.config.edge.n, 2);
	assert_int_equal(f.config.edge.v[0].port, 1);
	assert_string_equal(f.config.edge.v[1].host, "::1");
	assert_string_equal(f.config.ca, f.path);
	assert_string_equal(f.config.cert, f.path);
	assert_string_equal(f.config.key, f.path);
	assert_int_equal(f.config.pin.n, 2);
	assert_memory_equal(f.config.pin.v[0], zeros, QUIC_PIN_LEN);
	assert_memory_equal(f.config.pin.v[1], ones, QUIC_PIN_LEN);
	assert_string_equal(f.config.user.name, "b");
	assert_string_equal(f.config.user.password, "c:d");
	assert_int_equal(f.config.mtu_max, 9000);
	assert_int_equal(f.config.mtu_min, 1280);
	assert_true(f.config.no_mtu_probe);
	assert_true(f.config.no_ipsec_mb);
	assert_string_equal(f.config.interface, "wlan0");
	assert_int_equal(f.config.fwmark, 51820);
	assert_int_equal(f.config.edge_timeout, 60);
	assert_int_equal(f.config.cc, QUIC_CC_BBR);
	assert_string_equal(f.config.qlog, "/tmp");
	assert_int_equal(f.config.log_format, LOG_JSON);
	assert_int_equal(f.config.clients_max, 1);
	assert_int_equal(f.config.clients_per_listener, 2);
	assert_int_equal(f.config.clients_per_source, 3);
	assert_int_equal(f.config.head_max, 4096);
	assert_int_equal(f.config.head_timeout, 4);
	assert_int_equal(f.config.idle_timeout, 5);
	assert_int_equal(f.config.connect_timeout, 6);
	assert_int_equal(f.config.tunnel_timeout, 7);
	assert_int_equal(f.config.linger_timeout, 8);
	assert_int_equal(f.config.memory_max, 1 << 30);
	assert_int_equal(f.config.verbose, 2);
	assert_true(f.config.quiet);
	end();
	begin(CONFIG_CULVERT_EDGE);
	assert_int_equal(
	    load("culvert-edge -l 0.0.0.0:1 --cert @ --key @ "
		 "--users @ --allow 10.0.0.0/8 --allow ::1 --deny ::/0"),
	    0);
	assert_string_equal(listen_at(0), "0.0.0.0:1");
	assert_string_equal(f.config.users, f.path);
	assert_int_equal(f.config.allow.n, 2);
	assert_string_equal(f.config.allow.v[1], "::1");
	assert_int_equal(f.config.deny.n, 1);
	assert_string_equal(f.config.deny.v[0], "::/0");
	end();
}

/* A value that is not the default, for each kind of option. */
static const char *
value_for(const struct config_option *option)
{
	static const struct {
		const char *metavar, *value;
	} values[] = {
		{ "addr:port", "127.0.0.1:7" },
		{ "host[:port]", "a:7" },
		{ "addr:port=host:port", "127.0.0.1:7=a:7" },
		{ "file", "/a" },
		{ "path", "/a" },
		{ "dir", "/a" },
		{ "sha256//base64", PIN_ZEROS },
		{ "name:password", "a:b" },
		{ "bytes", "5000" },
		{ "cubic|bbr", "cubic" },
		{ "cidr[:port]", "10.0.0.0/8:25" },
		{ "text|json", "json" },
		{ "number", "7" },
		{ "seconds", "7" },
		{ "size", "20M" },
		{ "name", "eth0" },
	};

	if (option->metavar == NULL)
		return "1";
	for (size_t i = 0; i < COUNT(values); i++) {
		if (strcmp(values[i].metavar, option->metavar) == 0)
			return values[i].value;
	}
	fail_msg("no value for %s", option->metavar);
	return NULL;
}

static void
key_sets_its_field(enum config_program program,
    const struct config_option *option)
{
	const char *value = value_for(option);
	const void *field;
	struct config before;
	char line[300];

	begin(program);
	before = f.config;
	snprintf(line, sizeof(line), "[%s]\n%s = %s\n", option->section,
	    option->name, value);
	assert_int_equal(parse(line), 0);
	assert_string_equal(errors(), "");
	field = option_field(option, &f.config);
	if (option->type->owned)
		assert_string_equal(*(char *const *)field, value);
	else
		assert_memory_not_equal(field, option_field(option, &before),
		    option->type->size);
	end();
}

static void
every_key_sets_its_field(void **state)
{
	const struct config_option *option;

	(void)state;
	for (int p = CONFIG_CULVERT; p <= CONFIG_CULVERT_EDGE; p++) {
		enum config_program program = (enum config_program)p;

		for (size_t i = 0; (option = option_at(program, i)) != NULL;
		     i++) {
			if (option->section != NULL)
				key_sets_its_field(program, option);
		}
	}
}

/* Only root can choose another user. */
static void
run_as_takes_a_user_that_we_can_become(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert --embedded-edge --run-as no-such-user"),
	    -EINVAL);
	assert_string_equal(errors(),
	    "culvert: --run-as: the user "
	    "'no-such-user' does not exist on this machine\n");
	end();
	begin(CONFIG_CULVERT_EDGE);
	if (geteuid() == 0) {
		assert_int_equal(load("culvert-edge --self-signed --open "
				      "--run-as root"),
		    0);
		assert_string_equal(f.config.run_as, "root");
	} else {
		assert_int_equal(load("culvert-edge --self-signed --open "
				      "--run-as root"),
		    -EINVAL);
		assert_non_null(strstr(errors(), "only root can switch"));
	}
	end();
}

static void
the_table_is_sound(void **state)
{
	const struct config_option *option;
	size_t i, at;

	(void)state;
	for (int p = CONFIG_CULVERT; p <= CONFIG_CULVERT_EDGE; p++) {
		enum config_program program = (enum config_program)p;

		for (i = 0; (option = option_at(program, i)) != NULL; i++) {
			assert_ptr_equal(option_find(program, option->name,
					     &at),
			    option);
			assert_int_equal(at, i);
			assert_int_equal(option->section == NULL,
			    option->type == NULL);
			if (option->type != NULL)
				assert_int_equal(option->type->bare,
				    option->metavar == NULL);
		}
		assert_true(i <= CONFIG_OPTIONS_MAX);
	}
}

static void
the_command_line_overrides_the_file(void **state)
{
	(void)state;
	write_file(
	    "[proxy]\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\n"
	    "[edge]\nedge = a\nedge = b\n[path]\ncc = bbr\nmtu-max = 1400\n"
	    "[log]\nverbose = 3\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -l 127.0.0.1:3 -v -f @ "
			      "-o path.cc=cubic -o proxy.listen=127.0.0.1:4"),
	    0);
	assert_string_equal(errors(), "");
	assert_int_equal(f.config.listen.n, 2);
	assert_string_equal(listen_at(0), "127.0.0.1:3");
	assert_string_equal(listen_at(1), "127.0.0.1:4");
	assert_int_equal(f.config.edge.n, 2);
	assert_int_equal(f.config.cc, QUIC_CC_CUBIC);
	assert_int_equal(f.config.mtu_max, 1400);
	assert_int_equal(f.config.verbose, 1);
	end();
}

static void
the_last_flag_wins(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(
	    load("culvert -e a --cc bbr --cc cubic --qlog /a "
		 "--qlog /b -o log.quiet=yes -o log.quiet=no -vvvvv"),
	    0);
	assert_int_equal(f.config.cc, QUIC_CC_CUBIC);
	assert_string_equal(f.config.qlog, "/b");
	assert_false(f.config.quiet);
	assert_int_equal(f.config.verbose, 3);
	end();
}

/* Rows: the program's file, and the complaint about it. */
static void
files_are_read_strictly(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "[path]\ncc = reno\n",
		    "x.conf:2: cc: the value is not cubic or bbr\n" },
		{ "\n; c\n[path]\nmtu-max = 12x\n",
		    "x.conf:4: mtu-max: the "
		    "value is not a number of bytes from 1228 to 65535\n" },
		{ "[path]\ninterface = a/b\n",
		    "x.conf:2: interface: the "
		    "value is not the name of an interface, such as eth0\n" },
		{ "[path]\ninterface = sixteen-letters-\n",
		    "x.conf:2: "
		    "interface: the value is not the name of an "
		    "interface, such as eth0\n" },
		{ "[path]\nfwmark = 0\n",
		    "x.conf:2: fwmark: the value is "
		    "not a number from 1 to 0xffffffff\n" },
		{ "[path]\nfwmark = 0x100000000\n",
		    "x.conf:2: fwmark: "
		    "the value is not a number from 1 to 0xffffffff\n" },
		{ "[path]\ncc = bbr\ncc = bbr\n",
		    "x.conf:3: 'cc' is set a second time\n" },
		{ "[path]\nxx = bbr\n",
		    "x.conf:2: unknown key 'xx' in "
		    "[path]\n" },
		{ "[log]\ncc = bbr\n",
		    "x.conf:2: 'cc' belongs in [path], not "
		    "in [log]\n" },
		{ "cc = bbr\n",
		    "x.conf:1: 'cc' belongs in [path], not in "
		    "[]\n" },
		{ "[x]\ny = bbr\n", "x.conf:2: unknown key 'y' in [x]\n" },
		{ "[edge]\nself-signed = yes\n",
		    "x.conf:2: unknown key 'self-signed' in [edge]\n" },
		{ "[path]\nconfig = /x\n",
		    "x.conf:2: unknown key 'config' in [path]\n" },
		{ "[path]\ncc\n",
		    "x.conf:2: neither [section] nor key = value\n" },
		{ "[path\n", "x.conf:1: neither [section] nor key = value\n" },
		{ "[limits]\nconnections = 0\n",
		    "x.conf:2: connections: "
		    "the value is not a number from 1 to 16\n" },
		{ "[limits]\nconnections = 17\n",
		    "x.conf:2: connections: "
		    "the value is not a number from 1 to 16\n" },
		{ "[path]\nspread = 17\n",
		    "x.conf:2: spread: "
		    "the value is not auto, or a number from 1 to 16\n" },
		{ "[edge]\nuser = secret\n",
		    "x.conf:2: user: the value is "
		    "not name:password of at most 255 bytes each\n" },
		{ "[proxy]\nlisten = :1\nlisten = 1\n",
		    "x.conf:2: listen: the value is not an address and a port, "
		    "such as 127.0.0.1:1080 or [::1]:1080\n"
		    "x.conf:3: listen: the value is not an address and a port, "
		    "such as 127.0.0.1:1080 or [::1]:1080\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(CONFIG_CULVERT);
		assert_int_equal(parse(rows[i].text), -EINVAL);
		assert_string_equal(errors(), rows[i].error);
		end();
	}
}

static void
files_may_be_written_freely(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(parse("\xef\xbb\xbf# c\r\n[edge] ; c\r\n\tedge = a\r\n"
			       "   edge: b ; c\n\n[path]\n[edge]\nedge=c"),
	    0);
	assert_string_equal(errors(), "");
	assert_int_equal(f.config.edge.n, 3);
	assert_string_equal(f.config.edge.v[2].host, "c");
	end();
}

static void
odd_lines_are_named(void **state)
{
	static const char nul[] = "[edge]\nedge = a\0b\nedge = c\n";
	char text[400] = "[edge]\nedge = ";

	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(config_parse(&f.config, nul, sizeof(nul) - 1,
			     "x.conf"),
	    -EINVAL);
	assert_string_equal(errors(),
	    "x.conf:2: the line contains a NUL byte\n");
	assert_int_equal(f.config.edge.n, 1);
	end();
	memset(text + strlen(text), 'a', 300);
	begin(CONFIG_CULVERT);
	assert_int_equal(parse(text), -EINVAL);
	assert_non_null(strstr(errors(), "x.conf:2: the line is longer than"));
	assert_int_equal(f.config.edge.n, 0);
	end();
}

static void
lists_are_bounded(void **state)
{
	char line[64];

	(void)state;
	begin(CONFIG_CULVERT);
	for (int i = 0; i <= CONFIG_EDGE_MAX; i++) {
		snprintf(line, sizeof(line), "[edge]\nedge = e%d\n", i);
		assert_int_equal(parse(line),
		    i < CONFIG_EDGE_MAX ? 0 : -EINVAL);
	}
	assert_string_equal(errors(),
	    "x.conf:2: edge: is given more than 8 times\n");
	assert_int_equal(f.config.edge.n, CONFIG_EDGE_MAX);
	end();
}

static void
wrong_values_are_refused(void **state)
{
	static const char *const rows[] = {
		"edge.edge=",
		"edge.edge=a:0",
		"edge.edge=::1",
		"edge.edge=a b",
		"edge.pin=" PIN_ZEROS "=",
		"edge.pin=sha1//AAAA",
		"edge.pin=sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
		"edge.pin=sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"edge.pin=sha256//AAAAAAAAAA!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"edge.user=bob",
		"edge.user=:x",
		"edge.user=",
		"edge.ca=",
		"edge.embedded-edge=perhaps",
		"path.mtu-max=1227",
		"path.mtu-max=65536",
		"path.mtu-max= 1500",
		"path.mtu-max=+1500",
		"path.mtu-max=99999999999999999999",
		"log.verbose=4",
		"log.verbose=-1",
		"log.verbose=",
		"path.cc=CUBIC",
		"proxy.listen=localhost:1",
		"path",
		"path.cc",
		"path=cc.bbr",
		"proxy.control=/0123456789012345678901234567890123456789012345"
		"67890123456789012345678901234567890123456789012345678901234567",
		"edge.user=a:\x01",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(CONFIG_CULVERT);
		snprintf(f.words[0], sizeof(f.words[0]), "culvert");
		snprintf(f.words[1], sizeof(f.words[1]), "-eok");
		snprintf(f.words[2], sizeof(f.words[2]), "-o%s", rows[i]);
		assert_int_equal(config_load(&f.config, 3,
				     (char *[]){ f.words[0], f.words[1],
					 f.words[2], NULL }),
		    -EINVAL);
		assert_string_not_equal(errors(), "");
		end();
	}
}

static void
bad_flags_are_named(void **state)
{
	static const struct {
		const char *line, *error;
	} rows[] = {
		{ "culvert -e a --nonsense",
		    "unknown option '--nonsense'; -h lists all options" },
		{ "culvert -e a -nx",
		    "unknown option '-x'; -h lists all options" },
		{ "culvert -e a --self-signed",
		    "unknown option '--self-signed'; -h lists all options" },
		{ "culvert --embedded-edge=yes",
		    "--embedded-edge takes no value" },
		{ "culvert -e", "--edge needs a value: host[:port]" },
		{ "culvert -e a --cc", "--cc needs a value: cubic|bbr" },
		{ "culvert -e a b",
		    "1 argument belongs to no option; "
		    "-h lists all options" },
		{ "culvert -e a b c",
		    "2 arguments belong to no option; "
		    "-h lists all options" },
		{ "culvert -e a -f x -f y", "--config is given twice" },
		{ "culvert -e a --mtu-max 1k",
		    "--mtu-max: the value is not "
		    "a number of bytes from 1228 to 65535" },
		{ "culvert -e a --head-max 70000",
		    "--head-max: the value is "
		    "not a number of bytes from 4096 to 65536" },
		{ "culvert -e a --clients-max -1",
		    "--clients-max: the value "
		    "is not a number from 0 to 10000000" },
		{ "culvert -e a --linger-timeout 0",
		    "--linger-timeout: the "
		    "value is not a number of seconds from 1 to 86400" },
		{ "culvert -e a -o x",
		    "--option: the value is not "
		    "section.key=value" },
		{ "culvert -e a -o x.y=z", "unknown key 'y' in [x]" },
		{ "culvert -e a --user secret",
		    "--user: the value is not "
		    "name:password of at most 255 bytes each" },
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(CONFIG_CULVERT);
		assert_int_equal(load(rows[i].line), -EINVAL);
		snprintf(text, sizeof(text), "culvert: %s\n", rows[i].error);
		assert_string_equal(errors(), text);
		end();
	}
}

/* Any value may be mistyped: a complaint never prints it. */
static void
values_stay_out_of_complaints(void **state)
{
	static const char *const lines[] = {
		"--usr=geheim",
		"--usr geheim",
		"--usr=alice:geheim",
		"--alice:geheim",
		"--pass=geheim",
		"-xgeheim",
		"-vxgeheim",
		"-ualice:geheim",
		"-u alice:geheim",
		"geheim",
		"alice:geheim",
		"--user geheim",
		"--user=geheim",
		"--embedded-edge=geheim",
		"--edge https://alice:geheim@host",
		"--edge=alice:geheim@b",
		"--user-file geheim",
		"--ca geheim",
		"--key geheim --cert @",
		"--listen-users geheim",
		"--config geheim",
		"-f geheim",
		"--pin geheim",
		"--pin sha256//geheim",
		"--mtu-max geheim",
		"--listen geheim",
		"--interface alice:geheim",
		"--cc geheim",
		"--fwmark geheim",
		"--log-format geheim",
		"--grace geheim",
		"--memory-max geheim",
		"-o geheim",
		"-o usr=alice:geheim",
		"-o edge.usr=alice:geheim",
		"-o edge.edge=a:geheim@b",
		"-o edge.user=geheim",
		"-o geheim=alice.x",
		"-o :geheim.x=y",
		"--option=alice:geheim",
		"--verbose=geheim",
		"-q=geheim",
	};
	static const char *const texts[] = {
		"[edge]\nusr = alice:geheim\n",
		"[edge]\nuser = geheim\n",
		"[edge]\nuser alice:geheim\n",
		"[edge]\nalice:geheim\n",
		"[edge]\nuser=alice:x\nuser=bob:geheim\n",
		"[edge]\nedge = https://alice:geheim@host\n",
		"[edge]\nGeHeIm geheim = x\n",
		"[path]\ncc = geheim\n",
		"[user alice:geheim]\nx = y\n",
		"geheim\n",
		"[alice:geheim]\nuser = a:b\n",
		"[edge]\npin = geheim\n",
	};
	char line[128];

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		begin(CONFIG_CULVERT);
		write_file("x");
		snprintf(line, sizeof(line), "culvert -e a %s", lines[i]);
		assert_int_equal(load(line), -EINVAL);
		assert_non_null(strstr(errors(), "culvert: "));
		assert_null(strstr(errors(), "geheim"));
		assert_null(strstr(errors(), "'-g'"));
		end();
	}
	for (size_t i = 0; i < COUNT(texts); i++) {
		begin(CONFIG_CULVERT);
		assert_int_equal(parse(texts[i]), -EINVAL);
		assert_non_null(strstr(errors(), "x.conf:"));
		assert_null(strstr(errors(), "geheim"));
		end();
	}
}

static void
sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		size_t wanted; /* bytes; 0: it is refused */
	} rows[] = {
		{ "16777216", 16777216 }, { "16384K", 16777216 },
		{ "16M", 16777216 }, { "3G", (size_t)3 << 30 },
		{ "16777215", 0 }, { "15M", 0 }, { "16m", 0 }, { "16MB", 0 },
		{ "M", 0 }, { "-16M", 0 }, { "", 0 }, { " 16M", 0 },
		{ "99999999999999999999", 0 },
		{ "17179869185G", 0 }, /* 2^64 and a bit */
	};
	size_t size;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size = 7;
		assert_int_equal(value_memory.set(&size, rows[i].text),
		    rows[i].wanted != 0 ? 0 : -EINVAL);
		assert_int_equal(size,
		    rows[i].wanted != 0 ? rows[i].wanted : 7);
	}
}

static void
combinations_are_checked(void **state)
{
	static const struct {
		enum config_program program;
		const char *line, *error; /* no error: it is accepted */
	} rows[] = {
		{ CONFIG_CULVERT, "culvert", "no edge is configured" },
		{ CONFIG_CULVERT, "culvert --embedded-edge", NULL },
		{ CONFIG_CULVERT, "culvert -e a --embedded-edge",
		    "--edge and --embedded-edge cannot be combined" },
		{ CONFIG_CULVERT, "culvert -e a --cert @",
		    "--cert and --key require each other" },
		{ CONFIG_CULVERT, "culvert -e a --key @",
		    "--cert and --key require each other" },
		{ CONFIG_CULVERT, "culvert -e a --ca /nonexistent",
		    "--ca: the file cannot be read: No such file or directory" },
		{ CONFIG_CULVERT, "culvert -e a --mtu-min 1401 --mtu-max 1400",
		    "--mtu-min 1401 is above --mtu-max 1400" },
		{ CONFIG_CULVERT, "culvert -e a --mtu-min 1400 --mtu-max 1400",
		    NULL },
		{ CONFIG_CULVERT, "culvert -e a --mtu-min 1400", NULL },
		{ CONFIG_CULVERT, "culvert --embedded-edge --interface lo",
		    "--interface and --embedded-edge cannot be combined" },
		{ CONFIG_CULVERT, "culvert --embedded-edge --fwmark 1", NULL },
		{ CONFIG_CULVERT,
		    "culvert --embedded-edge --allow 10.0.0.0/8 "
		    "--deny :25",
		    NULL },
		{ CONFIG_CULVERT, "culvert -e a --allow 10.0.0.0/8",
		    "--allow and --deny require --embedded-edge" },
		{ CONFIG_CULVERT, "culvert -e a --deny [fc00::]/7:443",
		    "--allow and --deny require --embedded-edge" },
		{ CONFIG_CULVERT, "culvert -e a --edge-timeout 1",
		    "--edge-timeout 1 is below 2" },
		{ CONFIG_CULVERT, "culvert -e a --edge-timeout 2", NULL },
		{ CONFIG_CULVERT, "culvert -e a --user b:c --user-file @",
		    "--user and --user-file cannot be combined" },
		{ CONFIG_CULVERT, "culvert -e a -l 127.0.0.1:1 -l 0.0.0.0:2",
		    "other machines can reach 0.0.0.0:2; this requires "
		    "--listen-users" },
		{ CONFIG_CULVERT, "culvert -e a -l [::]:2",
		    "other machines can reach [::]:2" },
		{ CONFIG_CULVERT, "culvert -e a -l [::]:2 --listen-users @",
		    NULL },
		{ CONFIG_CULVERT, "culvert -e a -l [::ffff:127.0.0.1]:2",
		    NULL },
		{ CONFIG_CULVERT_EDGE, "culvert-edge --open",
		    "no certificate" },
		{ CONFIG_CULVERT_EDGE, "culvert-edge --self-signed",
		    "no users are configured" },
		{ CONFIG_CULVERT_EDGE,
		    "culvert-edge --self-signed --open "
		    "--users @",
		    "--open and --users cannot be combined" },
		{ CONFIG_CULVERT_EDGE,
		    "culvert-edge --self-signed --open "
		    "--cert @ --key @",
		    "--self-signed and --cert cannot be combined" },
		{ CONFIG_CULVERT_EDGE, "culvert-edge --open --cert @",
		    "--cert and --key require each other" },
		{ CONFIG_CULVERT_EDGE, "culvert-edge --open --cert @ --key @",
		    NULL },
		{ CONFIG_CULVERT_EDGE, "culvert-edge --self-signed --users @",
		    NULL },
	};

	(void)state;
	write_file("");
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(rows[i].program);
		assert_int_equal(load(rows[i].line),
		    rows[i].error != NULL ? -EINVAL : 0);
		if (rows[i].error != NULL)
			assert_non_null(strstr(errors(), rows[i].error));
		else
			assert_string_equal(errors(), "");
		end();
	}
}

static void
passwords_leave_the_command_line(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user bob:secret "
			      "--user=bob:secret -o edge.user=bob:geheim"),
	    0);
	assert_string_equal(f.config.user.name, "bob");
	assert_string_equal(f.config.user.password, "geheim");
	for (size_t i = 0; i < 8; i++) {
		assert_null(memmem(f.words[i], sizeof(f.words[i]), "secret",
		    6));
		assert_null(memmem(f.words[i], sizeof(f.words[i]), "geheim",
		    6));
	}
	assert_string_equal(f.words[1], "-e");
	assert_string_equal(f.words[5], "--user=");
	assert_string_equal(f.words[7], "edge.user=");
	end();
	assert_int_equal(f.config.user.password[0], '\0');
}

static void
the_user_file_gives_the_user(void **state)
{
	(void)state;
	write_file("bob:se:cret\r\nmore\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user-file @"), 0);
	assert_string_equal(errors(), "");
	assert_string_equal(f.config.user.name, "bob");
	assert_string_equal(f.config.user.password, "se:cret");
	end();
	assert_int_equal(chmod(f.path, 0644), 0);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user-file @"), 0);
	assert_non_null(strstr(errors(), "warning: /tmp/test_config."));
	end();
	write_file("\nbob:secret\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user-file @"), -EINVAL);
	assert_non_null(strstr(errors(),
	    "/file:1: the line is not "
	    "name:password"));
	end();
	write_file("[edge]\nedge = a\nuser = bob:secret\n");
	assert_int_equal(chmod(f.path, 0644), 0);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -f @"), 0);
	assert_non_null(strstr(errors(), "warning: /tmp/test_config."));
	end();
}

/*
 * Files of secrets: a user who can read them can use the proxy, or find out
 * how.
 */
static void
exposed_secrets_are_warned_of(void **state)
{
	static const struct {
		enum config_program program;
		mode_t mode;
		const char *line, *what;
	} cases[] = {
		{ CONFIG_CULVERT_EDGE, 0644,
		    "culvert-edge --self-signed "
		    "--users @",
		    "hashes of passwords, and every user of this "
		    "machine can read it; use \"chmod o= /tmp/test_config." },
		{ CONFIG_CULVERT, 0604,
		    "culvert --embedded-edge "
		    "--listen-users @",
		    "hashes of passwords, and every" },
		{ CONFIG_CULVERT_EDGE, 0644,
		    "culvert-edge --open --cert @ "
		    "--key @",
		    "a private key, and every user" },
		{ CONFIG_CULVERT, 0644, "culvert -e x --cert @ --key @",
		    "a private key, and every user" },
		{ CONFIG_CULVERT, 0644, "culvert -e x --user-file @",
		    "a password, and every user" },
		{ CONFIG_CULVERT, 0602, "culvert -e x --user-file @",
		    "every user of this machine can replace it" },
		{ CONFIG_CULVERT, 0644, "culvert -e x --ca @", NULL },
		{ CONFIG_CULVERT, 0640, "culvert -e x --user-file @", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		begin(cases[i].program);
		write_file("alice:secret\n");
		assert_int_equal(chmod(f.path, cases[i].mode), 0);
		assert_int_equal(load(cases[i].line), 0);
		if (cases[i].what == NULL)
			assert_string_equal(errors(), "");
		else
			assert_non_null(strstr(errors(), cases[i].what));
		end();
	}
}

static void
the_longest_user_fits(void **state)
{
	char text[600] = "";

	(void)state;
	memset(text, 'a', 2 * CONFIG_USER_MAX + 1);
	text[CONFIG_USER_MAX] = ':';
	write_file(text);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user-file @"), 0);
	assert_int_equal(strlen(f.config.user.name), CONFIG_USER_MAX);
	assert_int_equal(strlen(f.config.user.password), CONFIG_USER_MAX);
	end();
	strcat(text, "a");
	write_file(text);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a --user-file @"), -EINVAL);
	assert_string_equal(f.config.user.name, "");
	end();
}

static void
unreadable_files_are_errors(void **state)
{
	char error[100];
	FILE *file;

	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a -f /nonexistent"), -EINVAL);
	assert_string_equal(errors(),
	    "culvert: --config: the file cannot be read: "
	    "No such file or directory\n");
	end();
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a -f /"), -EINVAL);
	assert_string_equal(errors(), "/: Is a directory\n");
	end();
	file = fopen(f.path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), CONFIG_FILE_MAX + 1), 0);
	fclose(file);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -e a -f @"), -EINVAL);
	snprintf(error, sizeof(error), "%s: larger than 1048576 bytes\n",
	    f.path);
	assert_string_equal(errors(), error);
	end();
}

/* ---- Reading it again ---- */

/* Reloads. f.err has what was printed; fresh replaces old if it is valid. */
static int
reload(void)
{
	struct config fresh;
	int rv;

	fflush(f.config.err);
	rewind(f.config.err);
	rv = config_reload(&fresh, &f.config, f.config.err);
	fputc('\0', f.config.err);
	fflush(f.config.err);
	if (rv != 0)
		return rv;
	fresh.out = f.config.out;
	config_free(&f.config);
	f.config = fresh;
	return 0;
}

static void
a_reload_reads_the_file_again(void **state)
{
	(void)state;
	write_file("[edge]\nedge = a\nuser = me:old\n[path]\ncc = cubic\n"
		   "mtu-max = 1400\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -f @ --pin " PIN_ONES
			      " -o path.mtu-max=9000 -v"),
	    0);
	write_file("[edge]\nedge = b\nedge = c\nuser = me:new\n"
		   "[path]\nmtu-max = 1300\n[log]\nquiet = yes\n");
	assert_int_equal(reload(), 0);
	assert_string_equal(errors(), "");
	assert_int_equal(f.config.edge.n, 2);
	assert_string_equal(f.config.edge.v[0].host, "b");
	assert_string_equal(f.config.user.password, "new");
	assert_int_equal(f.config.cc, QUIC_CC_BBR);
	assert_true(f.config.quiet);
	/* Options of the command line still count. */
	assert_int_equal(f.config.pin.n, 1);
	assert_int_equal(f.config.mtu_max, 9000);
	assert_int_equal(f.config.verbose, 1);
	/* And again, as often as one likes. */
	write_file("[edge]\nedge = d\n");
	assert_int_equal(reload(), 0);
	assert_string_equal(f.config.edge.v[0].host, "d");
	assert_string_equal(f.config.user.name, "");
	assert_int_equal(f.config.mtu_max, 9000);
	end();
}

static void
a_wrong_file_changes_nothing(void **state)
{
	char error[128];

	(void)state;
	write_file("[edge]\nedge = a\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -f @"), 0);
	write_file("[edge]\nedge = b\npin = no\n");
	assert_int_equal(reload(), -EINVAL);
	snprintf(error, sizeof(error),
	    "%s:3: pin: the value is "
	    "not sha256// and the base64 of 32 bytes\n",
	    f.path);
	assert_string_equal(errors(), error);
	assert_string_equal(f.config.edge.v[0].host, "a");
	write_file("");
	assert_int_equal(reload(), -EINVAL);
	assert_non_null(strstr(errors(), "no edge is configured"));
	unlink(f.path);
	assert_int_equal(reload(), -EINVAL);
	snprintf(error, sizeof(error), "%s: No such file or directory\n",
	    f.path);
	assert_string_equal(errors(), error);
	assert_string_equal(f.config.edge.v[0].host, "a");
	end();
}

static void
what_takes_a_restart_is_named(void **state)
{
	(void)state;
	write_file("[proxy]\nlisten = 127.0.0.1:1\ncontrol = /run/a\n"
		   "[edge]\nedge = a\n");
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -f @"), 0);
	write_file("[proxy]\nlisten = 127.0.0.1:2\ncontrol = /run/a\n"
		   "[edge]\nedge = b\n[log]\nqlog = /tmp\n");
	assert_int_equal(reload(), 0);
	assert_string_equal(errors(),
	    "culvert: a change of 'listen' requires a restart\n"
	    "culvert: a change of 'qlog' requires a restart\n");
	assert_string_equal(listen_at(0), "127.0.0.1:1");
	assert_null(f.config.qlog);
	assert_string_equal(f.config.edge.v[0].host, "b");
	write_file("[edge]\nedge = b\npin = no\n");
	assert_int_equal(reload(), -EINVAL);
	assert_null(strstr(errors(), "requires a restart"));
	end();
}

/* The listener stays, so its users must. */
static void
what_stays_is_checked_with_what_is_new(void **state)
{
	char text[256];

	(void)state;
	snprintf(text, sizeof(text),
	    "[proxy]\nlisten = 0.0.0.0:1\n"
	    "listen-users = %s\n[edge]\nedge = a\n",
	    f.path);
	write_file(text);
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -f @"), 0);
	write_file("[proxy]\nlisten = 127.0.0.1:1\n[edge]\nedge = a\n");
	assert_int_equal(reload(), -EINVAL);
	assert_non_null(strstr(errors(), "other machines can reach"));
	assert_non_null(f.config.listen_users);
	end();
}

static void
questions_are_answered(void **state)
{
	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -V"), 1);
	fflush(f.config.out);
	assert_string_equal(f.out, "culvert " CULVERT_VERSION "\n");
	end();
	begin(CONFIG_CULVERT_EDGE);
	assert_int_equal(load("culvert-edge -n --self-signed --open"), 1);
	fflush(f.config.out);
	assert_string_equal(f.out, "culvert-edge: configuration OK\n");
	end();
	begin(CONFIG_CULVERT_EDGE);
	assert_int_equal(load("culvert-edge -n --self-signed"), -EINVAL);
	fflush(f.config.out);
	assert_string_equal(f.out, "");
	end();
}

static void
usage_fits_a_terminal_and_names_all(void **state)
{
	static const char first[] = "usage: culvert [-hnqVv] [-e host[:port]] "
				    "[-f file] [-l addr:port]\n";
	const struct config_option *option;
	char name[64];

	(void)state;
	begin(CONFIG_CULVERT);
	assert_int_equal(load("culvert -h"), 1);
	fflush(f.config.out);
	assert_memory_equal(f.out, first, strlen(first));
	for (size_t i = 0; (option = option_at(CONFIG_CULVERT, i)) != NULL;
	     i++) {
		snprintf(name, sizeof(name), "--%s ", option->name);
		assert_non_null(strstr(f.out, name));
	}
	for (char *line = f.out; *line != '\0';) {
		size_t len = strcspn(line, "\n");

		assert_in_range(len, 0, 80);
		line += len + 1;
	}
	end();
}

#define CONFIG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		CONFIG_TEST(defaults),
		CONFIG_TEST(flags_set_every_field),
		CONFIG_TEST(every_key_sets_its_field),
		CONFIG_TEST(run_as_takes_a_user_that_we_can_become),
		CONFIG_TEST(the_table_is_sound),
		CONFIG_TEST(the_command_line_overrides_the_file),
		CONFIG_TEST(the_last_flag_wins),
		CONFIG_TEST(files_are_read_strictly),
		CONFIG_TEST(files_may_be_written_freely),
		CONFIG_TEST(odd_lines_are_named),
		CONFIG_TEST(lists_are_bounded),
		CONFIG_TEST(wrong_values_are_refused),
		CONFIG_TEST(bad_flags_are_named),
		CONFIG_TEST(values_stay_out_of_complaints),
		CONFIG_TEST(sizes_have_units),
		CONFIG_TEST(combinations_are_checked),
		CONFIG_TEST(passwords_leave_the_command_line),
		CONFIG_TEST(the_user_file_gives_the_user),
		CONFIG_TEST(exposed_secrets_are_warned_of),
		CONFIG_TEST(the_longest_user_fits),
		CONFIG_TEST(unreadable_files_are_errors),
		CONFIG_TEST(a_reload_reads_the_file_again),
		CONFIG_TEST(a_wrong_file_changes_nothing),
		CONFIG_TEST(what_takes_a_restart_is_named),
		CONFIG_TEST(what_stays_is_checked_with_what_is_new),
		CONFIG_TEST(questions_are_answered),
		CONFIG_TEST(usage_fits_a_terminal_and_names_all),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
