# SPDX-License-Identifier: MIT
# The daemon's server, over the fake engine.
foreach(t server server_fds server_clients streams requests)
  hvd_test(test_${t} SOURCES unit/test_${t}.c unit/server_rig.c unit/fake_engine.c
    LIBS hvd_daemon LABELS unit TIMEOUT 120)
endforeach()
# Sources of notifications, and a method that takes its time, in the place of methods.
target_link_options(test_streams PRIVATE -Wl,--wrap=method_stats_subscribe)
target_link_options(test_requests PRIVATE -Wl,--wrap=method_engine_list)
hvd_test(test_engines SOURCES unit/test_engines.c LIBS hvd_daemon LABELS unit TIMEOUT 60)
