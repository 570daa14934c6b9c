from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="importing")


@remote(api, method="POST", path="/greet")
def greet(name):
    return f"Hello, {name}!"


print(greet("Alice"))
