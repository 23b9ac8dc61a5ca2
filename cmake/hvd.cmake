# SPDX-License-Identifier: MIT
# Warnings, sanitizers, and the project's target helpers.

add_library(hvd_flags INTERFACE)
target_compile_options(hvd_flags INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wpointer-arith -Wwrite-strings -Wundef -fno-common -g)
target_compile_definitions(hvd_flags INTERFACE _GNU_SOURCE)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT HVD_SANITIZE)
  target_compile_options(hvd_flags INTERFACE -D_FORTIFY_SOURCE=2)
endif()
if(HVD_SANITIZE)
  target_compile_options(hvd_flags INTERFACE -fsanitize=${HVD_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(hvd_flags INTERFACE -fsanitize=${HVD_SANITIZE})
endif()

# -Wconversion where the code is not made of deliberate truncations.
add_library(hvd_flags_conversion INTERFACE)
target_link_libraries(hvd_flags_conversion INTERFACE hvd_flags)
target_compile_options(hvd_flags_conversion INTERFACE -Wconversion -Wno-sign-conversion)

# hvd_library(NAME SOURCES... [PUBLIC libs] [PRIVATE libs] [NO_CONVERSION])
function(hvd_library name)
  cmake_parse_arguments(A "NO_CONVERSION" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  if(NOT A_SOURCES)
    # Nothing here yet.
    add_library(${name} INTERFACE)
    return()
  endif()
  add_library(${name} STATIC ${A_SOURCES})
  if(A_NO_CONVERSION)
    target_link_libraries(${name} PRIVATE hvd_flags)
  else()
    target_link_libraries(${name} PRIVATE hvd_flags_conversion)
  endif()
  target_link_libraries(${name} PUBLIC ${A_PUBLIC} PRIVATE ${A_PRIVATE})
endfunction()

# hvd_test(NAME SOURCES files... LIBS libs... [LABELS l...] [TIMEOUT s]): a cmocka program.
function(hvd_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE hvd_flags ${A_LIBS} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}")
endfunction()
