price = 1_000_
zip_code = 01234
