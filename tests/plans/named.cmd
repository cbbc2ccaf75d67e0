nsctl run --name web httpd -f
