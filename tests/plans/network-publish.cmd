nsctl run --network bridge -p 8080:80 -p 127.0.0.1:5353:53/udp true
