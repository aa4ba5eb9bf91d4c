/* SPDX-License-Identifier: Apache-2.0 */
/* Hints for programs that ended well and did nothing: code within quotes, a picture that nobody sees.
 *
 * ending.c calls this file for each program that has returned nothing, so an ordinary program must
 * cost no more than a look at its first character and at one entry of sys.modules.  What must never
 * happen here: a word to a program that did what its text says. */
#include "zygote/hint.h"

#include "zygote/hint_parts.h"

#include <string.h>

/* Is all of @text one string in double quotes, as JSON.stringify() makes it, that contains Python? */
static bool is_quoted_code(const char *text)
{
    static const char *const signs[] = { "\\n", "print(", "import ", "return ", NULL };

    text += strspn(text, " \t\r\n");
    if (*text != '"')
        return false;
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    if (n < 3 || text[n - 1] != '"' || memchr(text, '\n', n))
        return false;
    for (size_t i = 1; i < n - 1; i += text[i] == '\\' ? 2 : 1)
        if (text[i] == '"')
            return false;
    for (const char *const *sign = signs; *sign; sign++)
        if (strstr(text, *sign))
            return true;
    return false;
}

/* Does a line of @text have @word, in no comment? */
static bool has_call(const char *text, const char *word)
{
    for (const char *p = text; (p = strstr(p, word)); p++) {
        const char *line = p;
        while (line > text && line[-1] != '\n')
            line--;
        if (!memchr(line, '#', (size_t) (p - line)))
            return true;
    }
    return false;
}

static bool shows_picture(const char *text)
{
    return PyDict_GetItemString(PyImport_GetModuleDict(), "matplotlib.pyplot")
           && (has_call(text, "plt.show(") || has_call(text, "pyplot.show(")) && !strstr(text, "savefig");
}

const char *hint_success(PyObject *source)
{
    const char *text = bytes_of(source);

    if (is_quoted_code(text))
        return "the code is one string, so none of it was run: it was put into quotes twice on its way (in n8n: "
               "{{ JSON.stringify($json.code) }}, with no quotes around it)";
    if (shows_picture(text))
        return "plt.show() shows nothing here: plt.savefig('a.png'), and return "
               "base64.b64encode(open('a.png', 'rb').read()).decode()";
    return NULL;
}
