nsctl run -u 1000 sh
