print("start")
text = """never
closed
