# SPDX-License-Identifier: MIT
# Subscriptions, over the fake engine.
foreach(t events trace console stats)
  hvd_test(test_sub_${t} SOURCES unit/test_sub_${t}.c unit/server_rig.c unit/fake_engine.c
    LIBS hvd_daemon LABELS unit TIMEOUT 120)
endforeach()
