#include "quic/error_text.h"

#include <stdio.h>

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

/* An error that the peer has caused, and the name of its code. */
struct rule {
	int error;
	uint64_t code;
	const char *name;
};

/* RFC 9000 §20.1 */
static const struct rule quic_rules[] = {
	{ NGTCP2_ERR_PROTO, NGTCP2_PROTOCOL_VIOLATION, "PROTOCOL_VIOLATION" },
	{ NGTCP2_ERR_ACK_FRAME, NGTCP2_FRAME_ENCODING_ERROR,
	    "FRAME_ENCODING_ERROR" },
	{ NGTCP2_ERR_FRAME_ENCODING, NGTCP2_FRAME_ENCODING_ERROR,
	    "FRAME_ENCODING_ERROR" },
	{ NGTCP2_ERR_FLOW_CONTROL, NGTCP2_FLOW_CONTROL_ERROR,
	    "FLOW_CONTROL_ERROR" },
	{ NGTCP2_ERR_CONNECTION_ID_LIMIT, NGTCP2_CONNECTION_ID_LIMIT_ERROR,
	    "CONNECTION_ID_LIMIT_ERROR" },
	{ NGTCP2_ERR_STREAM_LIMIT, NGTCP2_STREAM_LIMIT_ERROR,
	    "STREAM_LIMIT_ERROR" },
	{ NGTCP2_ERR_STREAM_STATE, NGTCP2_STREAM_STATE_ERROR,
	    "STREAM_STATE_ERROR" },
	{ NGTCP2_ERR_FINAL_SIZE, NGTCP2_FINAL_SIZE_ERROR, "FINAL_SIZE_ERROR" },
	{ NGTCP2_ERR_TRANSPORT_PARAM, NGTCP2_TRANSPORT_PARAMETER_ERROR,
	    "TRANSPORT_PARAMETER_ERROR" },
	{ NGTCP2_ERR_MALFORMED_TRANSPORT_PARAM,
	    NGTCP2_TRANSPORT_PARAMETER_ERROR, "TRANSPORT_PARAMETER_ERROR" },
	{ NGTCP2_ERR_REQUIRED_TRANSPORT_PARAM, NGTCP2_TRANSPORT_PARAMETER_ERROR,
	    "TRANSPORT_PARAMETER_ERROR" },
	{ NGTCP2_ERR_CRYPTO_BUFFER_EXCEEDED, NGTCP2_CRYPTO_BUFFER_EXCEEDED,
	    "CRYPTO_BUFFER_EXCEEDED" },
	{ NGTCP2_ERR_VERSION_NEGOTIATION_FAILURE,
	    NGTCP2_VERSION_NEGOTIATION_ERROR, "VERSION_NEGOTIATION_ERROR" },
	{ 0, 0, NULL }
};

/* RFC 9114 §8.1, RFC 9204 §6 */
static const struct rule h3_rules[] = { { NGHTTP3_ERR_H3_FRAME_UNEXPECTED,
					    NGHTTP3_H3_FRAME_UNEXPECTED,
					    "H3_FRAME_UNEXPECTED" },
	{ NGHTTP3_ERR_H3_FRAME_ERROR, NGHTTP3_H3_FRAME_ERROR,
	    "H3_FRAME_ERROR" },
	{ NGHTTP3_ERR_H3_MISSING_SETTINGS, NGHTTP3_H3_MISSING_SETTINGS,
	    "H3_MISSING_SETTINGS" },
	{ NGHTTP3_ERR_H3_CLOSED_CRITICAL_STREAM,
	    NGHTTP3_H3_CLOSED_CRITICAL_STREAM, "H3_CLOSED_CRITICAL_STREAM" },
	{ NGHTTP3_ERR_H3_GENERAL_PROTOCOL_ERROR,
	    NGHTTP3_H3_GENERAL_PROTOCOL_ERROR, "H3_GENERAL_PROTOCOL_ERROR" },
	{ NGHTTP3_ERR_H3_ID_ERROR, NGHTTP3_H3_ID_ERROR, "H3_ID_ERROR" },
	{ NGHTTP3_ERR_H3_SETTINGS_ERROR, NGHTTP3_H3_SETTINGS_ERROR,
	    "H3_SETTINGS_ERROR" },
	{ NGHTTP3_ERR_H3_STREAM_CREATION_ERROR,
	    NGHTTP3_H3_STREAM_CREATION_ERROR, "H3_STREAM_CREATION_ERROR" },
	{ NGHTTP3_ERR_MALFORMED_HTTP_HEADER, NGHTTP3_H3_MESSAGE_ERROR,
	    "H3_MESSAGE_ERROR" },
	{ NGHTTP3_ERR_MALFORMED_HTTP_MESSAGING, NGHTTP3_H3_MESSAGE_ERROR,
	    "H3_MESSAGE_ERROR" },
	{ NGHTTP3_ERR_QPACK_FATAL, NGHTTP3_QPACK_DECOMPRESSION_FAILED,
	    "QPACK_DECOMPRESSION_FAILED" },
	{ NGHTTP3_ERR_QPACK_HEADER_TOO_LARGE,
	    NGHTTP3_QPACK_DECOMPRESSION_FAILED, "QPACK_DECOMPRESSION_FAILED" },
	{ NGHTTP3_ERR_QPACK_DECOMPRESSION_FAILED,
	    NGHTTP3_QPACK_DECOMPRESSION_FAILED, "QPACK_DECOMPRESSION_FAILED" },
	{ NGHTTP3_ERR_QPACK_ENCODER_STREAM_ERROR,
	    NGHTTP3_QPACK_ENCODER_STREAM_ERROR, "QPACK_ENCODER_STREAM_ERROR" },
	{ NGHTTP3_ERR_QPACK_DECODER_STREAM_ERROR,
	    NGHTTP3_QPACK_DECODER_STREAM_ERROR, "QPACK_DECODER_STREAM_ERROR" },
	{ 0, 0, NULL } };

static const struct rule *
find(const struct rule *rules, int error)
{
	for (; rules->name != NULL; rules++)
		if (rules->error == error)
			return rules;
	return NULL;
}

static void
describe_peer_error(struct quic_close *why, const struct rule *rule, bool h3)
{
	why->cause = QUIC_PROTOCOL_ERROR;
	why->application = h3;
	why->code = rule->code;
	snprintf(why->text, sizeof(why->text), "the peer violated %s (%s)",
	    h3 ? "HTTP/3" : "QUIC", rule->name);
}

/* Our callbacks hardly ever fail for another reason than lack of memory. */
static bool
is_memory(int quic_error, int h3_error)
{
	return quic_error == NGTCP2_ERR_NOMEM ||
	    (quic_error == NGTCP2_ERR_CALLBACK_FAILURE &&
		(h3_error == 0 || h3_error == NGHTTP3_ERR_NOMEM ||
		    h3_error == NGHTTP3_ERR_CALLBACK_FAILURE));
}

static void
describe_own_error(struct quic_close *why, int quic_error, int h3_error)
{
	why->cause = QUIC_INTERNAL_ERROR;
	why->application = h3_error != 0;
	why->code = h3_error != 0 ? NGHTTP3_H3_INTERNAL_ERROR
				  : NGTCP2_INTERNAL_ERROR;
	if (is_memory(quic_error, h3_error))
		snprintf(why->text, sizeof(why->text),
		    "this program is out of memory");
	else
		snprintf(why->text, sizeof(why->text), "internal error: %s",
		    h3_error != 0 ? nghttp3_strerror(h3_error)
				  : ngtcp2_strerror(quic_error));
}

void
error_text_describe(struct quic_close *why, int quic_error, int h3_error)
{
	const struct rule *rule = find(h3_rules, h3_error);

	if (rule != NULL && quic_error == NGTCP2_ERR_CALLBACK_FAILURE)
		describe_peer_error(why, rule, true);
	else if ((rule = find(quic_rules, quic_error)) != NULL)
		describe_peer_error(why, rule, false);
	else
		describe_own_error(why, quic_error, h3_error);
}
