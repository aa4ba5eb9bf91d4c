class Ошибка(Exception):
    pass


def größe(данные):
    raise Ошибка("не получилось: 日本語 🐍 é\u0301 \x00 \x1b[31m \ud800 end")


größe("значение")
