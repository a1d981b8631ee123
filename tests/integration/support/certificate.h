/* A certificate for tests: self-signed, for localhost and 127.0.0.1. */
#pragma once

/* Writes PEM files; `serial` tells two of them apart. Fails the test when it cannot. */
void make_certificate(const char *certificate, const char *key, unsigned char serial);
