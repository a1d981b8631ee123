/* The canonical form of JSON against RFC 8785: its numbers (appendix B) and its example (3.2.2 to 3.2.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/base/json.h"

static void numbers_of_the_standard(void **state) {
  (void)state;
  static const struct {
    uint64_t bits;
    const char *text;
  } rows[] = {
      {0x0000000000000000, "0"},
      {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},
      {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},
      {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},
      {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},
      {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},
      {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},
      {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},
      {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},
      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},
      {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"},
      {0x43143ff3c1cb0959, "1424953923781206.2"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    double number;
    memcpy(&number, &rows[i].bits, sizeof(number));
    json_t *json = json_real(number);
    char *text = json_canonical(json);
    assert_string_equal(text, rows[i].text);
    free(text);
    json_decref(json);
  }
}

static void texts(void **state) {
  (void)state;
  static const struct {
    const char *json, *canonical;
  } rows[] = {
      {"{\"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],"
       " \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
       " \"literals\": [null, true, false]}",
       "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
       "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"},
      {"{\"b\":{\"z\":[],\"a\":{}},\"aa\":1,\"a\":-0.0}", "{\"a\":0,\"aa\":1,\"b\":{\"a\":{},\"z\":[]}}"},
      {"9007199254740991", "9007199254740991"},
      {"[100,0.1,1e-5,2.0]", "[100,0.1,0.00001,2]"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    json_t *json = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
    char *text = json_canonical(json);
    assert_string_equal(text, rows[i].canonical);
    free(text);
    json_decref(json);
  }
  assert_null(json_canonical(NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_of_the_standard), cmocka_unit_test(texts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
