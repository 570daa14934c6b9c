"""The endpoints. Each scales, and has its URL, by itself."""

from runpod_flash import LiveLoadBalancer

catalogue = LiveLoadBalancer(name="catalogue")
checkout = LiveLoadBalancer(name="checkout")
