#include "proxy/local/limits.h"

void
limits_set(struct limits *limits, const struct config *config)
{
	limits->v[LIMIT_CLIENTS].max = config->clients_max;
	limits->v[LIMIT_PER_LISTENER].max = config->clients_per_listener;
	limits->v[LIMIT_PER_SOURCE].max = config->clients_per_source;
	limits->v[LIMIT_MEMORY].max = config->memory_max;
	limits->v[LIMIT_HEAD].max = config->head_max;
	limits->v[LIMIT_HEAD_TIME].max = config->head_timeout;
	limits->v[LIMIT_IDLE_TIME].max = config->idle_timeout;
	limits->v[LIMIT_CONNECT_TIME].max = config->connect_timeout;
	limits->v[LIMIT_TUNNEL_TIME].max = config->tunnel_timeout;
	limits->v[LIMIT_LINGER_TIME].max = config->linger_timeout;
	limits->v[LIMIT_KEEPALIVE_TIME].max = config->keepalive_timeout;
}

bool
limits_hit(struct limits *limits, enum limit limit, uint64_t n)
{
	if (limits->v[limit].max == 0 || n < limits->v[limit].max)
		return false;
	limits->v[limit].hits++;
	return true;
}

uint64_t
limits_ms(const struct limits *limits, enum limit limit)
{
	return limits->v[limit].max * 1000;
}

const char *
limits_name(enum limit limit)
{
	static const char *const names[LIMITS] = {
		[LIMIT_CLIENTS] = "clients_max",
		[LIMIT_PER_LISTENER] = "clients_per_listener",
		[LIMIT_PER_SOURCE] = "clients_per_source",
		[LIMIT_DESCRIPTORS] = "descriptors",
		[LIMIT_MEMORY] = "memory_max",
		[LIMIT_HEAD] = "head_max",
		[LIMIT_HEAD_TIME] = "head_timeout",
		[LIMIT_IDLE_TIME] = "idle_timeout",
		[LIMIT_CONNECT_TIME] = "connect_timeout",
		[LIMIT_TUNNEL_TIME] = "tunnel_timeout",
		[LIMIT_LINGER_TIME] = "linger_timeout",
		[LIMIT_KEEPALIVE_TIME] = "keepalive_timeout",
	};

	return names[limit];
}
