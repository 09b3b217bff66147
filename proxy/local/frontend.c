#include "proxy/local/frontend.h"

/* The first byte of a TLS handshake (RFC 8446 §5.1). */
#define TLS_HANDSHAKE 0x16

const struct frontend *
frontend_detect(uint8_t first)
{
	switch (first) {
	case 4:
		return &frontend_socks4;
	case 5:
		return &frontend_socks5;
	case TLS_HANDSHAKE:
		return &frontend_tls;
	default:
		return &frontend_http; /* a letter; CONNECT is found later */
	}
}
