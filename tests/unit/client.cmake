# SPDX-License-Identifier: MIT
# libhvd, as a program sees it: the shared library and the installed header alone.
hvd_test(test_client SOURCES unit/test_client.c LIBS hvd_client Threads::Threads
  LABELS unit TIMEOUT 300)
add_test(NAME client_symbols COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/unit/client_symbols.sh
  ${CMAKE_NM} ${CMAKE_READELF} ${PROJECT_SOURCE_DIR}/libhvd/include/hvd/client.h
  $<TARGET_FILE:hvd_client> ${PROJECT_BINARY_DIR}/libhvd/libhvd.a)
set_tests_properties(client_symbols PROPERTIES LABELS unit TIMEOUT 60)
