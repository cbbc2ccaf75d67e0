nsctl run -d --rm --name web -m 64m sh -c "httpd -f"
v2
