"""Owns the GPU: decodes clips, runs models, explores subtrees; the only package that imports torch and cv2."""
