nsctl run -w /srv -e A=1 pwd
