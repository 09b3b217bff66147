# culvert. `make run` tries it, `make test` tests it, and `make check` tests all of
# it; README says the rest.
# Everything that is made lands under build/, or build/san/ with SAN=1.

VERSION = 0.1.0
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

BUILD := build$(if $(SAN),/san)
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60

QUIC_PACKAGES = libngtcp2 libngtcp2_crypto_gnutls libnghttp3 gnutls
PACKAGES = $(QUIC_PACKAGES) libidn2 libuv libcares inih jansson libseccomp
CFLAGS ?= -O2 -g
OWN_CFLAGS = $(if $(SAN),-fsanitize=address$(comma)undefined \
	-fno-sanitize-recover=undefined -fno-omit-frame-pointer) \
	$(if $(CI),-Werror)
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wundef -Wformat=2
OWN_CPPFLAGS = -I. -D_GNU_SOURCE -DCULVERT_VERSION='"$(VERSION)"'
comma = ,

# What hardens the programs, as far as the compiler has it. CFLAGS, CPPFLAGS and
# LDFLAGS come after it and may undo it. Fortified functions take optimization,
# and hide from the sanitizers what these look for.
HARDEN_TRY = -fstack-protector-strong -fstack-clash-protection \
	-fcf-protection -fPIE
OPTIMIZED = $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS))))
FORTIFY = $(if $(OPTIMIZED),$(if $(SAN)$(findstring _FORTIFY_SOURCE,$(CPPFLAGS) \
	$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY_LEVEL)))
HARDEN_LDFLAGS = -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack \
	$(if $(filter -static%,$(LDFLAGS)),,-pie)
try = $(shell printf '\043include <string.h>\nint x;\n' | \
	$(CC) -O2 -Werror $(1) -x c -c -o /dev/null - 2>/dev/null && echo '$(2)')

# A room is an archive of all that its folder holds. QUIC is the transport
# without a socket, a clock or a loop; IO gives it those.
ROOMS = quic io base http1 config control relay outbound upstream http local edge
quic_SRCS := $(filter-out quic/io.c quic/socket.c,$(wildcard quic/*.c))
io_SRCS = quic/io.c quic/socket.c
base_SRCS := $(wildcard proxy/base/*.c)
http1_SRCS := $(wildcard proxy/http1/*.c)
config_SRCS := $(wildcard proxy/config/*.c)
control_SRCS := $(wildcard proxy/control/*.c)
relay_SRCS = proxy/relay.c
outbound_SRCS := $(wildcard proxy/local/outbound/*.c)
upstream_SRCS := $(wildcard proxy/local/upstream/*.c)
http_SRCS := $(wildcard proxy/local/http/*.c)
local_SRCS := $(wildcard proxy/local/*.c)
edge_SRCS := $(wildcard proxy/edge/*.c)

PROGRAMS = culvert culvert-edge culvertctl
# In the order of the arrows between the rooms: the linker looks no archive up
# again, so one that calls back does not link. `make layers` checks the rest.
culvert_OBJS = proxy/culvert.o proxy/daemon.o local.a http.a upstream.a outbound.a edge.a \
	relay.a control.a config.a http1.a base.a io.a quic.a
culvert-edge_OBJS = proxy/culvert-edge.o proxy/daemon.o edge.a relay.a \
	config.a http1.a base.a io.a quic.a
culvertctl_OBJS = proxy/culvertctl.o control.a http1.a base.a

# A unit test links what it names and nothing else: the linker holds the
# layers apart.
UNIT = addr log config socks slice http1 chunked rewrite exchange basic users \
	policy dial sandbox privsep control status traffic report pmtu \
	black_hole loss_window admission icmp qpack_decoder_stream closing conn_id keyed_counter listener \
	netlink network_name migration failover edge_attempts connection pool repair_history connect_error \
	refuse_outbound direct_outbound route_table route_rules address_rule happy_eyeballs own_addresses chunk_queue \
	stream_tcp tunnel_kind relay $(UNIT_QUIC)
UNIT_QUIC = aead error_text mtu_probe_packet steps tls conn stream crowd memory \
	server path move bbr_bottleneck_queue tunnel_queue spread repair
test_addr_OBJS = proxy/base/addr.o
test_log_OBJS = proxy/base/log.o proxy/base/log_sink.o
test_config_OBJS = proxy/config/config.o proxy/config/flags.o proxy/config/config_source.o \
	proxy/config/option.o proxy/config/value.o proxy/base/control_path.o proxy/base/privsep.o \
	proxy/base/run_as.o $(test_address_rule_OBJS)
test_address_rule_OBJS = proxy/base/address_rule.o proxy/base/addr.o
test_happy_eyeballs_OBJS = proxy/base/happy_eyeballs.o proxy/base/addr.o
test_socks_OBJS = proxy/local/socks.o proxy/base/addr.o
test_slice_OBJS = proxy/base/slice.o
test_http1_OBJS = proxy/http1/http1.o proxy/http1/http1_head.o \
	proxy/http1/http1_framing.o proxy/base/slice.o proxy/base/addr.o
test_chunked_OBJS = proxy/http1/chunked.o
test_rewrite_OBJS = proxy/local/http/rewrite.o $(test_http1_OBJS)
test_exchange_OBJS = proxy/local/http/exchange.o proxy/local/http/request.o \
	proxy/local/http/response.o proxy/local/http/pinned.o \
	proxy/local/http/body.o proxy/local/http/trailer.o proxy/http1/chunked.o \
	$(test_outbound_OBJS) proxy/base/stream.o proxy/base/log.o \
	proxy/base/log_sink.o $(test_rewrite_OBJS)
test_basic_OBJS = proxy/base/basic.o
test_users_OBJS = proxy/base/users.o proxy/base/user_table.o \
	proxy/base/fair_queue.o proxy/base/login_failures.o \
	proxy/base/hash_scheme.o proxy/base/addr.o proxy/base/privsep.o
test_policy_OBJS = proxy/edge/policy.o $(test_address_rule_OBJS)
test_own_addresses_OBJS = proxy/edge/own_addresses.o proxy/base/addr.o
test_dial_OBJS = proxy/edge/dial.o proxy/edge/descriptors.o \
	proxy/edge/dial_queue.o proxy/edge/resolver.o proxy/edge/dns_question.o \
	proxy/edge/dns_query.o proxy/edge/name_servers.o \
	proxy/edge/dns_channel.o proxy/base/keyed_counter.o proxy/base/log.o \
	proxy/base/log_sink.o \
	proxy/base/happy_eyeballs.o $(test_policy_OBJS)
test_chunk_queue_OBJS = proxy/base/chunk_queue.o tests/unit/pattern.o
test_stream_tcp_OBJS = proxy/base/stream_tcp.o proxy/base/stream.o \
	proxy/base/chunk_queue.o proxy/base/tcp.o tests/unit/socket_end.o \
	tests/unit/pattern.o
test_sandbox_OBJS = proxy/base/sandbox.o proxy/base/seccomp.o proxy/base/run_as.o \
	tests/unit/child.o
test_privsep_OBJS = proxy/base/privsep.o proxy/base/privsep_child.o $(test_sandbox_OBJS)
test_control_OBJS = proxy/control/control.o proxy/base/control_path.o proxy/base/privsep.o \
	$(test_http1_OBJS)
test_status_OBJS = proxy/local/status.o proxy/local/limits.o proxy/base/addr.o
test_traffic_OBJS = proxy/local/traffic.o
test_report_OBJS = proxy/control/report.o proxy/control/report_rates.o \
	proxy/control/report_text.o
test_keyed_counter_OBJS = proxy/base/keyed_counter.o
test_listener_OBJS = proxy/local/listener.o proxy/local/limits.o proxy/base/keyed_counter.o \
	proxy/base/tcp.o \
	proxy/base/liveness.o proxy/base/malloc_trim.o proxy/base/addr.o proxy/base/log.o \
	proxy/base/log_sink.o
test_pmtu_OBJS = quic/pmtu.o quic/pmtu_candidate.o quic/pmtu_confirmation.o \
    quic/pmtu_search_interval.o
test_black_hole_OBJS = quic/black_hole.o $(test_pmtu_OBJS)
test_loss_window_OBJS = quic/loss_window.o
test_admission_OBJS = quic/admission.o quic/evict.o
test_qpack_decoder_stream_OBJS = quic/qpack_decoder_stream.o
test_icmp_OBJS = quic/icmp.o
test_closing_OBJS = quic/closing.o $(test_conn_id_OBJS)
test_conn_id_OBJS = quic/conn_id.o quic/siphash.o
test_netlink_OBJS = proxy/local/upstream/netlink.o proxy/local/upstream/suspend.o
test_network_name_OBJS = proxy/local/upstream/network_name.o proxy/base/addr.o
test_repair_history_OBJS = proxy/local/upstream/repair_history.o
test_migration_OBJS = proxy/local/upstream/migration.o
test_failover_OBJS = proxy/local/upstream/failover.o
test_edge_attempts_OBJS = proxy/local/upstream/edge_attempts.o \
	quic/socket.o $(test_happy_eyeballs_OBJS)
test_connection_OBJS = proxy/local/upstream/connection.o \
	proxy/local/upstream/repair_history.o proxy/base/addr.o proxy/base/log.o \
	proxy/base/log_sink.o proxy/base/qlog.o \
	proxy/base/privsep.o
test_pool_OBJS = proxy/local/upstream/pool.o proxy/local/upstream/upstream_edge.o \
	proxy/local/upstream/connection_limit.o proxy/local/upstream/failover.o \
	proxy/local/upstream/edge_silence.o proxy/local/upstream/edge_losses.o \
	proxy/local/upstream/spread.o proxy/base/addr.o \
	proxy/local/outbound/connect_error.o
test_outbound_OBJS = proxy/local/outbound/outbound.o proxy/local/outbound/route.o \
	proxy/local/outbound/connect_error.o $(test_route_rules_OBJS)
test_tunnel_kind_OBJS = proxy/base/tunnel_kind.o
test_route_table_OBJS = $(test_address_rule_OBJS) \
	proxy/local/outbound/route_table.o proxy/local/outbound/route_pattern.o
test_route_rules_OBJS = $(test_route_table_OBJS) \
	proxy/local/outbound/route_rules.o
test_direct_outbound_OBJS = $(test_outbound_OBJS) \
	proxy/local/outbound/refuse_outbound.o proxy/local/outbound/direct_outbound.o \
	proxy/base/happy_eyeballs.o proxy/base/liveness.o $(test_stream_tcp_OBJS)
test_refuse_outbound_OBJS = $(test_outbound_OBJS) proxy/base/addr.o \
	proxy/local/outbound/refuse_outbound.o
test_connect_error_OBJS = proxy/local/outbound/connect_error.o \
	proxy/local/upstream/edge_response.o \
	proxy/local/socks.o proxy/local/http_status.o proxy/base/addr.o
test_tls_OBJS = tests/unit/link.o tests/unit/world.o tests/unit/pattern.o quic.a
test_conn_OBJS = $(test_tls_OBJS)
test_error_text_OBJS = $(test_tls_OBJS)
test_steps_OBJS = $(test_tls_OBJS)
test_steps_LDFLAGS = -Wl,--wrap=conn_deliver -Wl,--wrap=ngtcp2_path_eq \
	-Wl,--wrap=ngtcp2_conn_get_stream_loss_count \
	-Wl,--wrap=stream_conn_gone -Wl,--wrap=stream_stop \
	-Wl,--wrap=quic_conn_expire \
	-Wl,--wrap=quic_conn_receive -Wl,--wrap=goaway_begin \
	-Wl,--wrap=h3_stop -Wl,--wrap=stream_deliver
test_aead_OBJS = $(test_tls_OBJS)
test_aead_LDFLAGS = -Wl,--wrap=ngtcp2_crypto_encrypt_cb \
	-Wl,--wrap=ngtcp2_crypto_decrypt_cb -Wl,--wrap=memory_calloc
test_mtu_probe_packet_OBJS = $(test_tls_OBJS)
test_mtu_probe_packet_LDFLAGS = -Wl,--wrap=ngtcp2_crypto_encrypt_cb
test_error_text_LDFLAGS = -Wl,--wrap=calloc
test_stream_OBJS = $(test_tls_OBJS)
test_memory_OBJS = $(test_tls_OBJS)
test_crowd_OBJS = $(test_tls_OBJS)
test_server_OBJS = $(test_tls_OBJS)
test_path_OBJS = $(test_tls_OBJS)
test_repair_OBJS = $(test_tls_OBJS)
test_move_OBJS = $(test_tls_OBJS)
test_bbr_bottleneck_queue_OBJS = $(test_tls_OBJS)
test_tunnel_queue_OBJS = $(test_tls_OBJS) proxy/local/upstream/tunnel_queue.o \
	proxy/base/stream.o proxy/base/stream_quic.o \
	proxy/local/upstream/edge_response.o proxy/local/outbound/outbound.o \
	proxy/local/outbound/connect_error.o proxy/base/addr.o proxy/base/basic.o
test_spread_OBJS = $(test_tls_OBJS) proxy/local/upstream/spread.o \
	proxy/base/addr.o
test_relay_OBJS = $(test_tls_OBJS) proxy/relay.o proxy/base/stream_quic.o \
	$(filter-out tests/unit/pattern.o,$(test_stream_tcp_OBJS)) \
	proxy/base/liveness.o

# A fuzz target is one parser; its corpus is replayed by `make unit` too.
FUZZ = socks request response rewrite chunked trailer config basic frame \
	netlink qpack_decoder_stream repair route_rules
fuzz_socks_OBJS = $(test_socks_OBJS)
fuzz_request_OBJS = $(test_rewrite_OBJS)
fuzz_response_OBJS = $(test_rewrite_OBJS)
fuzz_rewrite_OBJS = $(test_rewrite_OBJS)
fuzz_chunked_OBJS = $(test_chunked_OBJS)
fuzz_trailer_OBJS = proxy/local/http/trailer.o $(test_chunked_OBJS) \
	$(test_rewrite_OBJS)
fuzz_config_OBJS = $(test_config_OBJS)
fuzz_basic_OBJS = $(test_basic_OBJS)
fuzz_frame_OBJS = quic/frame.o
fuzz_qpack_decoder_stream_OBJS = quic/qpack_decoder_stream.o
fuzz_repair_OBJS = quic/repair_packet.o quic/erasure.o
fuzz_route_rules_OBJS = $(test_route_rules_OBJS)
fuzz_netlink_OBJS = proxy/local/upstream/netlink.o

# What the benchmark measures with.
BENCH = origin client link
origin_OBJS = tests/bench/origin.o tests/bench/wire.o
client_OBJS = tests/bench/client.o tests/bench/tunnel.o tests/bench/wire.o
link_OBJS = tests/bench/link.o

# What the soak shakes the daemons with, and for how long.
SOAK = line
line_OBJS = tests/soak/line.o
MINUTES ?= 10

# Hostile clients of the edge, where their tunnels lead, and what measures the
# edge's loop meanwhile.
HOSTILE = attacker target
attacker_OBJS = tests/hostile/attacker.o tests/hostile/acts.o \
	tests/hostile/acts_wire.o tests/hostile/peer.o tests/hostile/forge.o \
	tests/hostile/target_names.o
target_OBJS = tests/hostile/target.o tests/hostile/target_names.o
HOSTILE_ALL = $(HOSTILE:%=$(BUILD)/hostile/%) $(BUILD)/hostile/watch.so

MAN1 = culvert.1 culvertctl.1
MAN5 = culvert.conf.5 culvert-edge.conf.5
MAN8 = culvert-edge.8

ifneq ($(filter-out deps clean run test check releases,$(or $(MAKECMDGOALS),all)),)
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
PACKAGE_LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lcrypt
QUIC_LIBS := $(shell $(PKG_CONFIG) --libs $(QUIC_PACKAGES))
CMOCKA_LIBS := $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null)
HARDEN_CFLAGS := $(foreach flag,$(HARDEN_TRY),$(call try,$(flag),$(flag)))
FORTIFY_LEVEL := $(or $(call try,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3,3),2)
endif

COMPILE = $(CC) $(OWN_CPPFLAGS) $(FORTIFY) $(CPPFLAGS) $(HARDEN_CFLAGS) \
	$(OWN_CFLAGS) $(CFLAGS)
LINK = $(CC) $(HARDEN_CFLAGS) $(OWN_CFLAGS) $(CFLAGS) $(HARDEN_LDFLAGS) \
	$(LDFLAGS)

all: $(PROGRAMS:%=$(BUILD)/%)

# Installs what is missing, and does nothing quickly when nothing is.
deps:
	@./deps.sh

run:
	@./deps.sh build
	@$(MAKE) --no-print-directory -j2 all
	$(BUILD)/culvert --embedded-edge

# What needs no more than the build does, and python3-pytest and cmocka.
test:
	@./deps.sh test
	@$(MAKE) --no-print-directory -j2 all unit
	@$(MAKE) --no-print-directory system \
	    PYTEST_ARGS='-m "not needs" $(PYTEST_ARGS)'

check:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j2 all unit layers format-check
	@$(MAKE) --no-print-directory system

unit: $(UNIT:%=$(BUILD)/tests/test_%) $(FUZZ:%=$(BUILD)/tests/replay_%)
	@for t in $(UNIT); do $(BUILD)/tests/test_$$t || exit 1; done
	@for t in $(FUZZ); do \
		$(BUILD)/tests/replay_$$t tests/fuzz/corpus/$$t || exit 1; done

# The arrows between the rooms.
layers: $(ROOMS:%=$(BUILD)/%.a)
	@$(PYTHON) tests/layers.py $(BUILD)

system: all $(BUILD)/bench/link $(BUILD)/soak/line $(HOSTILE_ALL)
	CULVERT_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -rs \
		-p no:cacheprovider tests/system $(PYTEST_ARGS)

# What takes minutes, because its subject does.
system-full:
	CULVERT_TESTS=full $(MAKE) --no-print-directory system

fuzz: $(FUZZ:%=build/fuzz/fuzz_%)
	@for t in $(FUZZ); do \
		mkdir -p build/fuzz/new/$$t; \
		build/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) \
		    -max_len=65536 -artifact_prefix=build/fuzz/$$t- \
		    build/fuzz/new/$$t tests/fuzz/corpus/$$t || exit 1; done

# Another release of clang-format has another opinion of some lines.
FORMAT_VERSION = 14
FORMAT_FILES = $(shell find proxy quic tests -name '*.[ch]')
HAS_FORMAT = clang-format --version 2>/dev/null | \
	grep -q 'version $(FORMAT_VERSION)\.'

format:
	@$(HAS_FORMAT) || { echo "format: it takes clang-format" \
	    "$(FORMAT_VERSION), which is not here" >&2; exit 1; }
	@clang-format -i $(FORMAT_FILES)

format-check:
	@if $(HAS_FORMAT); then \
		clang-format --dry-run -Werror $(FORMAT_FILES); \
	else echo "format-check: skipped, clang-format $(FORMAT_VERSION)" \
	    "is not here"; fi

# A peer that cannot be installed is reported as missing.
bench: all $(BENCH:%=$(BUILD)/bench/%)
	@./deps.sh bench || echo "bench: going on without them"
	@CULVERT_BUILD=$(abspath $(BUILD)) PYTHONPATH=tests/system \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/bench/bench.py \
		$(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)') $(BENCH_ARGS)

# Faults by chance, of which SEED=... brings back the same ones.
soak: all $(SOAK:%=$(BUILD)/soak/%)
	@CULVERT_BUILD=$(abspath $(BUILD)) PYTHONPATH=tests/system \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/soak/soak.py \
		--minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Hostile clients beside an honest one; TRY=1 only sees that all of it works.
hostile: all $(HOSTILE_ALL)
	@CULVERT_BUILD=$(abspath $(BUILD)) PYTHONPATH=tests/system:tests/soak \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/hostile/hostile.py \
		$(if $(TRY),--try,--minutes $(MINUTES)) \
		$(if $(SEED),--seed $(SEED)) $(HOSTILE_ARGS)

# make check in a chroot of each release, or of those in RELEASES="12 sid".
releases:
	@tests/releases.sh $(RELEASES)

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) \
	    $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 \
	    $(DESTDIR)$(MANDIR)/man8
	install -m 755 $(BUILD)/culvert $(BUILD)/culvertctl $(DESTDIR)$(BINDIR)
	install -m 755 $(BUILD)/culvert-edge $(DESTDIR)$(SBINDIR)
	install -m 644 $(MAN1:%=man/%) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(MAN5:%=man/%) $(DESTDIR)$(MANDIR)/man5
	install -m 644 $(MAN8:%=man/%) $(DESTDIR)$(MANDIR)/man8

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/culvert $(DESTDIR)$(BINDIR)/culvertctl \
	    $(DESTDIR)$(SBINDIR)/culvert-edge \
	    $(MAN1:%=$(DESTDIR)$(MANDIR)/man1/%) \
	    $(MAN5:%=$(DESTDIR)$(MANDIR)/man5/%) \
	    $(MAN8:%=$(DESTDIR)$(MANDIR)/man8/%)

clean:
	rm -rf build

.PHONY: all deps run test check unit layers format format-check system
.PHONY: system-full fuzz bench soak hostile
.PHONY: releases install uninstall clean always
.SECONDARY:
.SECONDEXPANSION:

# Other flags make other objects; -Werror does not, nor does an installation.
$(BUILD)/flags: $(if $(filter install,$(MAKECMDGOALS)),,always)
	@mkdir -p $(@D)
	@printf '%s\n' "$$FLAGS" | cmp -s - $@ || printf '%s\n' "$$FLAGS" >$@
$(BUILD)/flags: export FLAGS = $(filter-out -Werror,$(COMPILE) $(LINK))

# cmocka 2.0 deprecates assert_in_range(); 1.1 has nothing else. This goes when
# the last release with 1.1 does: Debian 13.
$(BUILD)/tests/unit/%.o: CPPFLAGS += -DCMOCKA_DISABLE_DEPRECATION_WARNINGS

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) $(WARNINGS) $(PACKAGE_CFLAGS) -std=c11 -MMD -MP -c -o $@ $<

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o \
    $$(addprefix $(BUILD)/,$$(test_%_OBJS))
	@mkdir -p $(@D)
	$(LINK) $(test_$*_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) \
	    $(CMOCKA_LIBS) \
	    $(if $(filter $(UNIT_QUIC:%=test_%),$(@F)), \
	    $(QUIC_LIBS),$(PACKAGE_LIBS))

$(BUILD)/tests/replay_%: $(BUILD)/tests/fuzz/replay.o \
    $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/fuzz.o \
    $$(addprefix $(BUILD)/,$$(fuzz_%_OBJS))
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PACKAGE_LIBS)

build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.c \
    $$(addsuffix .c,$$(basename $$(fuzz_%_OBJS)))
	@mkdir -p $(@D)
	$(FUZZ_CC) $(OWN_CPPFLAGS) $(CPPFLAGS) -g -O1 -fsanitize=fuzzer,address,undefined \
	    $(PACKAGE_CFLAGS) -std=c11 -o $@ $^ $(PACKAGE_LIBS)

$(BENCH:%=$(BUILD)/bench/%): $(BUILD)/bench/%: \
    $$(addprefix $(BUILD)/,$$(%_OBJS))
	@mkdir -p $(@D)
	$(LINK) -o $@ $^

$(SOAK:%=$(BUILD)/soak/%): $(BUILD)/soak/%: \
    $$(addprefix $(BUILD)/,$$(%_OBJS))
	@mkdir -p $(@D)
	$(LINK) -o $@ $^

$(HOSTILE:%=$(BUILD)/hostile/%): $(BUILD)/hostile/%: \
    $$(addprefix $(BUILD)/,$$(%_OBJS))
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(QUIC_LIBS)

$(BUILD)/hostile/watch.so: tests/hostile/watch.c tests/hostile/watch.h
	@mkdir -p $(@D)
	$(CC) $(OWN_CPPFLAGS) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) \
	    $(if $(CI),-Werror) -std=c11 -fPIC -shared $(LDFLAGS) -o $@ $<

$(ROOMS:%=$(BUILD)/%.a): $(BUILD)/%.a: \
    $$(addprefix $(BUILD)/,$$(%_SRCS:.c=.o))
	@rm -f $@
	$(AR) rcs $@ $^

$(PROGRAMS:%=$(BUILD)/%): $(BUILD)/%: $$(addprefix $(BUILD)/,$$(%_OBJS))
	$(LINK) -o $@ $^ $(PACKAGE_LIBS)

-include $(shell find $(BUILD) -path build/releases -prune -o \
	-type f -name '*.d' -print 2>/dev/null)
