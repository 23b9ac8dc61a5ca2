# SPDX-License-Identifier: MIT
# Definitions: their form, the disk under them, and the daemon between disk and engine.
hvd_test(test_definition SOURCES unit/test_definition.c unit/fake_engine.c LIBS hvd_daemon
  LABELS unit TIMEOUT 60)

# Calls to the disk go through the test, which writes them down and lets them fail.
set(wrapped openat write pread fsync renameat renameat2 unlinkat copy_file_range)
list(TRANSFORM wrapped PREPEND "-Wl,--wrap=")
foreach(t store define)
  hvd_test(test_${t} SOURCES unit/test_${t}.c unit/disk_rig.c unit/server_rig.c unit/fake_engine.c
    LIBS hvd_daemon LABELS unit TIMEOUT 120)
  target_link_options(test_${t} PRIVATE ${wrapped})
endforeach()
