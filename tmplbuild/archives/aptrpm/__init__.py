"""ALT's package archives, in the format of apt-rpm: release and pkglist files, EVR order and
set-versions, closure of a request, and .rpm files."""
