/*
 * Runs a fuzz target over files, or over all files of directories, without
 * libFuzzer: the corpora are then regression tests for any compiler.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static unsigned ninputs;

static int
fail(const char *path, const char *why)
{
	fprintf(stderr, "replay: %s: %s\n", path, why);
	return -1;
}

/* The memory is as large as the input, so that a sanitizer sees its end. */
static int
replay_file(const char *path, size_t size)
{
	uint8_t *data = malloc(size);
	FILE *file = fopen(path, "rb");
	int result = -1;

	if (data == NULL && size > 0)
		fail(path, "out of memory");
	else if (file == NULL)
		fail(path, strerror(errno));
	else if (fread(data, 1, size, file) != size)
		fail(path, "it cannot be read, or became shorter");
	else
		result = LLVMFuzzerTestOneInput(data, size);
	if (file != NULL)
		fclose(file);
	free(data);
	ninputs++;
	return result;
}

static int replay(const char *path);

static int
replay_directory(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort), result = 0;
	unsigned before = ninputs;

	if (n < 0)
		return fail(path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && replay(name) != 0)
			result = -1;
		free(entries[i]);
	}
	free(entries);
	return ninputs > before ? result : fail(path, "no inputs");
}

static int
replay(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return fail(path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return replay_directory(path);
	return replay_file(path, (size_t)st.st_size);
}

int
main(int argc, char **argv)
{
	int result = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: replay file-or-directory ...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) != 0)
			result = 1;
	}
	printf("replay: %u inputs\n", ninputs);
	return result;
}
