#include <limits.h>
#include <string.h>

#include "proxy/config/flags.h"

/* getopt_long(3) returns a number above all letters for a long-only flag. */
static int
flag_value(const struct config_option *option, size_t i)
{
	return option->letter != '\0' ? option->letter : UCHAR_MAX + 1 + (int)i;
}

void
flags_init(struct flags *flags, enum config_program program, int argc,
    char **argv)
{
	const struct config_option *option;
	char *letter = flags->letters;

	memset(flags, 0, sizeof(*flags));
	flags->argc = argc;
	flags->argv = argv;
	*letter++ = ':';
	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++) {
		flags->names[i] = (struct option){ .name = option->name,
			.has_arg = option->metavar != NULL,
			.val = flag_value(option, i) };
		if (option->letter != '\0')
			*letter++ = option->letter;
		if (option->letter != '\0' && option->metavar != NULL)
			*letter++ = ':';
	}
}

static const struct config_option *
find_flag(enum config_program program, int value, size_t *at)
{
	const struct config_option *option;

	for (size_t i = 0; (option = option_at(program, i)) != NULL; i++) {
		if (flag_value(option, i) == value) {
			*at = i;
			return option;
		}
	}
	return NULL;
}

/* Returns the next flag. After the end of a pass the next pass begins. */
static int
next_flag(struct flags *flags)
{
	int c;

	if (!flags->started)
		optind = 0;
	opterr = 0;
	c = getopt_long(flags->argc, flags->argv, flags->letters, flags->names,
	    NULL);
	flags->started = c != -1;
	return c;
}

/* The length of "--usr" in "--usr=alice:secret": the rest may be a password. */
static int
name_length(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	size_t len = strspn(word, plain);

	return (int)(len < SOURCE_NAME_MAX ? len : SOURCE_NAME_MAX);
}

/*
 * Prints the error that getopt_long(3) found, which prints none itself here:
 * it would show the value, which may be a password in the wrong place.
 */
static void
complain_flag(struct source *source, const struct flags *flags, int c)
{
	const struct config_option *option;
	size_t i;

	option = find_flag(source->config->program, optopt, &i);
	if (c == ':' && option != NULL)
		source_complain(source, "--%s needs a value: %s", option->name,
		    option->metavar);
	else if (option != NULL)
		source_complain(source, "--%s takes no value", option->name);
	else if (optopt != 0)
		source_complain(source,
		    "unknown option '-%c'; -h lists all "
		    "options",
		    optopt);
	else
		source_complain(source,
		    "unknown option '%.*s'; -h lists all options",
		    name_length(flags->argv[optind - 1]),
		    flags->argv[optind - 1]);
}

bool
flags_first_pass(struct flags *flags, struct source *source)
{
	const char *program = option_program_name(source->config->program);
	int c, surplus;

	while ((c = next_flag(flags)) != -1) {
		switch (c) {
		case 'h':
			option_usage(source->config->program,
			    source->config->out);
			return true;
		case 'V':
			fprintf(source->config->out, "%s %s\n", program,
			    CULVERT_VERSION);
			return true;
		case 'f':
			if (flags->file != NULL)
				source_complain(source,
				    "--config is given twice");
			flags->file = optarg;
			break;
		case 'n':
			flags->check = true;
			break;
		case '?':
		case ':':
			complain_flag(source, flags, c);
			/* The rest of this argument may be a value. */
			if (c == '?' && optopt != 0 && optopt <= UCHAR_MAX)
				return false;
			break;
		}
	}
	surplus = flags->argc - optind;
	if (surplus > 0)
		source_complain(source,
		    "%d argument%s to no option; "
		    "-h lists all options",
		    surplus, surplus == 1 ? " belongs" : "s belong");
	return false;
}

/* Wipes a password, so that ps(1) does not show it. */
static void
wipe_secret(const struct config_option *option, char *text)
{
	if (option != NULL && option->type != NULL && option->type->secret)
		explicit_bzero(text, strlen(text));
}

/* Sets "section.key=value", which is split in place and restored. */
static void
assign_pair(struct source *source, char *pair)
{
	char *dot = strchr(pair, '.'), *equals = strchr(pair, '=');

	if (dot == NULL || equals == NULL || dot > equals) {
		source_complain(source,
		    "--option: the value is not "
		    "section.key=value");
		return;
	}
	*dot = *equals = '\0';
	source_assign_key(source, pair, dot + 1, equals + 1);
	wipe_secret(option_find(source->config->program, dot + 1, NULL),
	    equals + 1);
	*dot = '.';
	*equals = '=';
}

void
flags_second_pass(struct flags *flags, struct source *source)
{
	const struct config_option *option;
	size_t i = 0;
	int c;

	while ((c = next_flag(flags)) != -1) {
		option = find_flag(source->config->program, c, &i);
		if (c == 'o')
			assign_pair(source, optarg);
		else if (option != NULL && option->type != NULL)
			source_assign(source, option, i, optarg);
		wipe_secret(option, optarg);
	}
}
