# SPDX-License-Identifier: MIT
# Fuzz targets: docs/howto/fuzz.md.
set(fuzz_dir ${CMAKE_CURRENT_SOURCE_DIR}/fuzz)
set(fuzz_seeds ${CMAKE_CURRENT_BINARY_DIR}/fuzz)

add_library(fuzz_choices STATIC fuzz/choices.c)
target_link_libraries(fuzz_choices PRIVATE hvd_flags PUBLIC proto)

add_executable(gen_seeds fuzz/gen_seeds.c)
target_link_libraries(gen_seeds PRIVATE hvd_flags fuzz_choices)
add_custom_command(OUTPUT ${fuzz_seeds}/hvd.dict COMMAND gen_seeds ${fuzz_seeds}
  DEPENDS gen_seeds VERBATIM)
add_custom_target(fuzz_seeds ALL DEPENDS ${fuzz_seeds}/hvd.dict)

# fuzz_target(NAME RUNS n SOURCES files... LIBS libs... [MAX_LEN bytes]): n runs take about 10 s
function(fuzz_target name)
  cmake_parse_arguments(A "" "RUNS;MAX_LEN" "SOURCES;LIBS" ${ARGN})
  add_executable(fuzz_${name} ${A_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE hvd_flags ${A_LIBS})
  if(HVD_SANITIZE MATCHES "fuzzer")
    target_compile_definitions(fuzz_${name} PRIVATE FUZZ_LIBFUZZER)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz_${name} COMMAND ${fuzz_dir}/run $<TARGET_FILE:fuzz_${name}>
      ${fuzz_seeds} ${fuzz_dir}/corpus ${name} -runs=${A_RUNS} -seed=1 -max_len=${A_MAX_LEN})
  else()
    target_sources(fuzz_${name} PRIVATE fuzz/replay.c)
    add_test(NAME fuzz_${name}_replay COMMAND fuzz_${name} ${fuzz_seeds}/${name}
      ${fuzz_dir}/corpus/${name})
    set_tests_properties(fuzz_${name}_replay PROPERTIES TIMEOUT 120 LABELS unit)
  endif()
endfunction()

fuzz_target(framing RUNS 200000 MAX_LEN 2048 SOURCES fuzz/fuzz_framing.c LIBS fuzz_choices)
fuzz_target(codec RUNS 60000 MAX_LEN 4096 SOURCES fuzz/fuzz_codec.c LIBS fuzz_choices)
fuzz_target(reply RUNS 25000 MAX_LEN 4096 SOURCES fuzz/fuzz_reply.c
  LIBS fuzz_choices hvd_client_objects)
fuzz_target(daemon RUNS 2500 MAX_LEN 4096 SOURCES fuzz/fuzz_daemon.c unit/fake_engine.c
  LIBS fuzz_choices hvd_daemon)
fuzz_target(device RUNS 1500 MAX_LEN 4096 SOURCES fuzz/fuzz_device.c kernel/device_random.c
  kernel/device_commands.c kernel/device_rig.c LIBS fuzz_choices fakedev PkgConfig::CMOCKA)

# Has a loop of its own, too, which makes images: that is what runs without libFuzzer.
add_executable(fuzz_loader fuzz/fuzz_loader.c)
target_link_libraries(fuzz_loader PRIVATE hvd_flags vmxcore_loader)
if(HVD_SANITIZE MATCHES "fuzzer")
  target_compile_definitions(fuzz_loader PRIVATE FUZZ_LIBFUZZER)
  target_link_options(fuzz_loader PRIVATE -fsanitize=fuzzer)
  add_test(NAME fuzz_loader COMMAND ${fuzz_dir}/run $<TARGET_FILE:fuzz_loader> ${fuzz_seeds}
    ${fuzz_dir}/corpus loader -runs=20000 -seed=1 -max_len=12289)
  set(fuzzers fuzz_framing fuzz_codec fuzz_reply fuzz_daemon fuzz_device
    fuzz_loader)
  set_tests_properties(${fuzzers} PROPERTIES TIMEOUT 300 LABELS fuzz)
  # `cmake --build --preset fuzz`: these, and what they need
  add_custom_target(fuzzers DEPENDS ${fuzzers} fuzz_seeds)
else()
  add_test(NAME fuzz_loader COMMAND fuzz_loader 2000)
  set_tests_properties(fuzz_loader PROPERTIES TIMEOUT 120 LABELS fuzz)
endif()
