#include "proxy/daemon.h"

#include <signal.h>
#include <string.h>

#include "proxy/log.h"
#include "proxy/option.h"
#include "quic/socket.h"

int
daemon_begin(struct config *config, enum config_program program, int argc,
    char **argv)
{
	int rv;

	sandbox_early();
	signal(SIGPIPE, SIG_IGN);
	config_init(config, program);
	if ((rv = config_load(config, argc, argv)) != 0) {
		config_free(config);
		return rv > 0 ? 0 : 2;
	}
	log_init(option_program_name(program), config->quiet ? -1
					       : config->verbose > 0);
	return -1;
}

/* Small buffers drop the bursts of long fast paths. */
static void
tell_of_buffers(void)
{
	size_t granted = quic_socket_buffer();

	if (granted < QUIC_SOCKET_BUFFER)
		log_info("the system grants %zu KiB of %d KiB for socket "
		    "buffers; for fast paths, raise net.core.rmem_max and "
		    "net.core.wmem_max", granted / 1024,
		    QUIC_SOCKET_BUFFER / 1024);
}

int
daemon_confine(const struct sandbox_paths *paths)
{
	int rv = sandbox_enter(paths);

	tell_of_buffers();
	if (rv < 0)
		log_error("cannot give up privileges: %s", strerror(-rv));
	else if (rv > 0)
		log_debug("this kernel has no Landlock");
	return rv < 0 ? rv : 0;
}
