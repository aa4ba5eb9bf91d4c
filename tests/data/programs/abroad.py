# packages: python3-requests
# error: Name or service not known
import requests

requests.get("https://api.example.com/v1", timeout=10)
