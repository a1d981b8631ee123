/* Requests whose framing is ambiguous or malformed, and some that are not: what guised must make of each. */
#pragma once

#include <stddef.h>

#define HEAD "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"
#define GET "GET /healthz HTTP/1.1\r\n"
#define POST "POST /v1/jobs?dry_run=true HTTP/1.1\r\n" HEAD JSON
#define HIDDEN "GET /v1/jobs HTTP/1.1\r\n" HEAD "\r\n" /* must not be taken for a request of its own */

enum outcome {
  ACCEPTED, /* 200 or 422, and the connection goes on */
  CLOSED,   /* accepted, and what follows is not read */
  REFUSED,  /* 4xx or 5xx, or no answer at all; and what follows is not read */
};

static const struct {
  const char *name, *text;
  size_t size;
  enum outcome outcome;
} framings[] = {
#define CASE(name, text, outcome) \
  { name, text, sizeof(text) - 1, outcome }
    CASE("as it should be", GET HEAD "\r\n", ACCEPTED),
    CASE("a body", POST "Content-Length: 2\r\n\r\n{}", ACCEPTED),
    CASE("an empty body announced", GET HEAD "Content-Length: 0\r\n\r\n", ACCEPTED),
    CASE("chunks", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" HIDDEN, CLOSED),
    CASE("a chunk extension", POST "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n" HIDDEN,
         CLOSED),
    CASE("chunk lines that end in LF", POST "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" HIDDEN, CLOSED),
    CASE("trailers",
         POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n" HIDDEN, CLOSED),
    CASE("two lengths", POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("the same length twice", POST "Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a list of lengths", POST "Content-Length: 2, 2\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a negative length", POST "Content-Length: -2\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a length with a sign", POST "Content-Length: +2\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a length in hex", POST "Content-Length: 0x2\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("no length", POST "Content-Length: \r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a length of 2^64 + 2", POST "Content-Length: 18446744073709551618\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a length of 2^64 - 1", POST "Content-Length: 18446744073709551615\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a length of 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n{}" HIDDEN, REFUSED),
    CASE("a blank before the colon", POST "Content-Length : 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("a tab before the colon", POST "Content-Length\t: 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("an encoding with a blank before the colon",
         POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a folded length", POST "Content-Length:\r\n 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("a length that goes on", POST "Content-Length: 4\r\n 0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a folded encoding", POST "Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a length in a folded field", POST "X: y\r\n Content-Length: 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("a length behind a bare CR", POST "X: y\rContent-Length: 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("encoding and length",
         POST "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("two encodings", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("chunked twice",
         POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("an unknown encoding", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a vertical tab before chunked", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" HIDDEN,
         REFUSED),
    CASE("chunks in HTTP/1.0",
         "POST /v1/jobs HTTP/1.0\r\n" HEAD JSON "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN,
         REFUSED),
    CASE("a negative chunk", POST "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a chunk in 0x", POST "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a chunk of 2^64 + 2",
         POST "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" HIDDEN, REFUSED),
    CASE("a chunk that does not end", POST "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n" HIDDEN,
         REFUSED),
    CASE("LF in a chunk extension", POST "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n" HIDDEN,
         REFUSED),
    CASE("a body where none belongs", GET HEAD "Content-Length: 40\r\n\r\n" HIDDEN, REFUSED),
    CASE("no Host", GET "\r\n" HIDDEN, REFUSED),
    CASE("two Hosts", GET HEAD HEAD "\r\n" HIDDEN, REFUSED),
    CASE("a foreign Host", GET "Host: evil.example\r\n\r\n" HIDDEN, REFUSED),
    CASE("a path in Host", GET "Host: localhost/x\r\n\r\n" HIDDEN, REFUSED),
    CASE("a user in Host", GET "Host: x@localhost\r\n\r\n" HIDDEN, REFUSED),
    CASE("a field without a name, which is left out", GET HEAD ": x\r\n\r\n", ACCEPTED),
    CASE("a name of two words", GET HEAD "Content Length: 2\r\n\r\n" HIDDEN, REFUSED),
    CASE("a name that is no ASCII", GET HEAD "X\xc3\xa9: 1\r\n\r\n" HIDDEN, REFUSED),
    CASE("a control byte in a value", GET HEAD "X: a\1b\r\n\r\n" HIDDEN, REFUSED),
    CASE("a line without a colon", GET HEAD "nonsense\r\n\r\n" HIDDEN, REFUSED),
    CASE("NUL in a name", GET HEAD "X\0: 2\r\n\r\n" HIDDEN, REFUSED),
    CASE("NUL in a method", "GE\0T /healthz HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("NUL in the address, escaped", "GET /healthz%00 HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("bytes that are not UTF-8 in the address", "GET /v1/jobs/\xff HTTP/1.1\r\n" HEAD "\r\n" HIDDEN,
         REFUSED),
    CASE("a whole address", "GET http://evil.example/healthz HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("CONNECT", "CONNECT localhost:80 HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    CASE("HTTP/0.9", "GET /healthz\r\n\r\n" HIDDEN, REFUSED),
    CASE("HTTP/1.10", "GET /healthz HTTP/1.10\r\n" HEAD "\r\n" HIDDEN, REFUSED),
    CASE("a blank in the address", "GET /healthz x HTTP/1.1\r\n" HEAD "\r\n" HIDDEN, REFUSED),
#undef CASE
};
