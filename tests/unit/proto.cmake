# SPDX-License-Identifier: MIT
hvd_test(test_codec SOURCES unit/test_codec.c LIBS proto LABELS unit TIMEOUT 60)
hvd_test(test_print SOURCES unit/test_print.c LIBS proto LABELS unit TIMEOUT 60)
hvd_test(test_framing SOURCES unit/test_framing.c LIBS proto LABELS unit TIMEOUT 60)
# The reference is what the tables say.
add_test(NAME docs_api_current COMMAND sh -c
  "\"$<TARGET_FILE:proto_gen_docs>\" | diff -u \"${CMAKE_CURRENT_SOURCE_DIR}/../docs/api.md\" -")
set_tests_properties(docs_api_current PROPERTIES LABELS unit TIMEOUT 30)
