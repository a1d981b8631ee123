# Run by cmake --install and by cpack, which alone know the prefix for sure: the unit names program and configuration where they
# are installed. BINDIR, SYSCONFDIR and SOURCE are set by the caller.
if(IS_ABSOLUTE "${SYSCONFDIR}")
  set(GUISE_UNIT_SYSCONFDIR "${SYSCONFDIR}")
elseif(CMAKE_INSTALL_PREFIX MATCHES "^/usr/?$")
  set(GUISE_UNIT_SYSCONFDIR "/${SYSCONFDIR}")
else()
  set(GUISE_UNIT_SYSCONFDIR "${CMAKE_INSTALL_PREFIX}/${SYSCONFDIR}")
endif()
set(GUISE_UNIT_BINDIR "${CMAKE_INSTALL_PREFIX}/${BINDIR}")
set(unit "${CMAKE_INSTALL_PREFIX}/lib/systemd/system/guised.service")
message(STATUS "Installing: $ENV{DESTDIR}${unit}")
configure_file("${SOURCE}/guised.service.in" "$ENV{DESTDIR}${unit}" @ONLY NO_SOURCE_PERMISSIONS)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${unit}")

# What the administrator wrote stays.
if(NOT EXISTS "$ENV{DESTDIR}${GUISE_UNIT_SYSCONFDIR}/guise/guised.conf")
  file(INSTALL "${SOURCE}/guised.conf" DESTINATION "${GUISE_UNIT_SYSCONFDIR}/guise")
endif()
