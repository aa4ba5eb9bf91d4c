#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""Docstring after a cookie."""
print(__doc__, "é")
