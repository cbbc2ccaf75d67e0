nsctl run -v /srv/data:/mnt:ro,noexec --tmpfs /tmp sh
