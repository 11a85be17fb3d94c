"""DermCheck as a MONAI Label app; the only room that imports monailabel.

Import what you need from the modules: importing this package alone loads nothing heavy.
"""
