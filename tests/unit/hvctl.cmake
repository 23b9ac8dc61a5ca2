# SPDX-License-Identifier: MIT
hvd_test(test_hvctl_text SOURCES unit/test_hvctl_text.c LIBS hvctl_lib LABELS unit)
hvd_test(test_hvctl_options SOURCES unit/test_hvctl_options.c LIBS hvctl_lib LABELS unit)
hvd_test(test_hvctl_draw SOURCES unit/test_hvctl_draw.c LIBS hvctl_lib LABELS unit)
hvd_test(test_hvctl_views SOURCES unit/test_hvctl_views.c LIBS hvctl_lib LABELS unit)
