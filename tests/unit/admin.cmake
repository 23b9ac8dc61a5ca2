# SPDX-License-Identifier: MIT
# Roles and the configuration.
hvd_test(test_access SOURCES unit/test_access.c unit/fake_engine.c LIBS hvd_daemon LABELS unit TIMEOUT 60)
hvd_test(test_config SOURCES unit/test_config.c unit/fake_engine.c LIBS hvd_daemon LABELS unit TIMEOUT 60)
