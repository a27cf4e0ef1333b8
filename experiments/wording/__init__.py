"""Does a decoder's frozen reading carry taste to new words?"""
