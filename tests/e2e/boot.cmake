# SPDX-License-Identifier: MIT
# hvd installed in a Debian that systemd boots. Of the release build only: what is tried is
# the installation.
if(NOT HVD_SANITIZE)
  add_test(NAME e2e_systemd_boot
    COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/systemd_boot.py)
  set_tests_properties(e2e_systemd_boot PROPERTIES LABELS "boot;slow" TIMEOUT 300
    SKIP_RETURN_CODE 77 ENVIRONMENT "HVD_BUILD=${CMAKE_BINARY_DIR}")
endif()
