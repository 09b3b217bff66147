/*
 * Sums follow Horner's rule: before a packet is added, what is there is
 * multiplied by 2^s. So packet i of `total` has the factor 2^(s(total - 1 - i)),
 * and the equations for the lost packets are rows of a Vandermonde matrix.
 */
#include <string.h>

#include "quic/erasure.h"

/* x^8 + x^4 + x^3 + x^2 + 1, of which 2 is a primitive element. */
#define POLYNOMIAL 0x1d
#define ORDER 255 /* of 2 */

/* Powers of 2 up to this one are multiplied by in one step. */
#define STEP_MAX 3

/* Eight elements times 2^s; s is 1 to STEP_MAX. */
static uint64_t
shifted(uint64_t x, unsigned s)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t low = ones * (0xffu >> s);
	uint64_t over = x >> (8 - s) & ones * ((1u << s) - 1);

	/* What leaves a byte comes back times the polynomial, 0x1d. */
	return (x & low) << s ^ over ^ over << 2 ^ over << 3 ^ over << 4;
}

static uint64_t
multiplied(uint64_t x, unsigned s)
{
	for (; s > STEP_MAX; s -= STEP_MAX)
		x = shifted(x, STEP_MAX);
	return s > 0 ? shifted(x, s) : x;
}

void
erasure_add(uint8_t *sum, size_t size, unsigned s, const uint8_t *packet,
    size_t len)
{
	uint64_t word, more = 0;

	for (size_t at = 0; at < size; at += sizeof(word)) {
		memcpy(&word, sum + at, sizeof(word));
		word = multiplied(word, s);
		if (len >= at + sizeof(word)) {
			memcpy(&more, packet + at, sizeof(more));
			word ^= more;
		} else if (len > at) {
			more = 0;
			memcpy(&more, packet + at, len - at);
			word ^= more;
		}
		memcpy(sum + at, &word, sizeof(word));
	}
}

static uint8_t
multiply(uint8_t a, uint8_t b)
{
	uint8_t product = 0;

	for (; b != 0; b >>= 1) {
		if (b & 1)
			product ^= a;
		a = (uint8_t)(a << 1 ^ (a >> 7) * POLYNOMIAL);
	}
	return product;
}

static uint8_t
power_of_2(unsigned exponent)
{
	uint8_t x = 1;

	for (exponent %= ORDER; exponent > 0; exponent--)
		x = multiply(x, 2);
	return x;
}

/* x^254, since x^255 is 1. */
static uint8_t
inverse(uint8_t x)
{
	uint8_t y = 1;

	for (unsigned n = ORDER - 1; n > 0; n >>= 1) {
		if (n & 1)
			y = multiply(y, x);
		x = multiply(x, x);
	}
	return y;
}

/* Adds `other` times `factor` to the row; without `other`, multiplies it. */
static void
combine(uint8_t *row, const uint8_t *other, size_t size, uint8_t factor)
{
	uint8_t table[256] = { 0, factor };

	/* Each is the sum of two before it, or twice one. */
	for (unsigned i = 2; i < sizeof(table); i++)
		table[i] = (i & 1) != 0 ? table[i - 1] ^ factor
					: multiply(table[i / 2], 2);
	for (size_t i = 0; i < size; i++)
		row[i] = other == NULL ? table[row[i]]
				       : row[i] ^ table[other[i]];
}

/* A row of factors, and the symbol that is the right side of its equation. */
struct row {
	uint8_t factors[ERASURE_SYMBOLS_MAX];
	uint8_t *symbol;
};

/* Puts a row whose factor `i` is not 0 at place `i`. */
static bool
find_pivot(struct row *rows, unsigned i, unsigned n)
{
	struct row row;
	unsigned j = i;

	while (j < n && rows[j].factors[i] == 0)
		j++;
	if (j == n)
		return false;
	row = rows[i];
	rows[i] = rows[j];
	rows[j] = row;
	return true;
}

/* Gauss and Jordan. */
bool
erasure_solve(uint8_t *symbols[], const unsigned numbers[],
    const unsigned lost[], unsigned n, unsigned total, size_t size)
{
	struct row rows[ERASURE_SYMBOLS_MAX];
	uint8_t f;

	for (unsigned i = 0; i < n; i++) {
		rows[i].symbol = symbols[i];
		for (unsigned j = 0; j < n; j++)
			rows[i].factors[j] = power_of_2(numbers[i] *
			    (total - 1 - lost[j]));
	}
	for (unsigned i = 0; i < n; i++) {
		if (!find_pivot(rows, i, n))
			return false;
		f = inverse(rows[i].factors[i]);
		combine(rows[i].factors, NULL, n, f);
		combine(rows[i].symbol, NULL, size, f);
		for (unsigned j = 0; j < n; j++) {
			f = rows[j].factors[i];
			if (j == i || f == 0)
				continue;
			combine(rows[j].factors, rows[i].factors, n, f);
			combine(rows[j].symbol, rows[i].symbol, size, f);
		}
	}
	for (unsigned i = 0; i < n; i++)
		symbols[i] = rows[i].symbol;
	return true;
}
