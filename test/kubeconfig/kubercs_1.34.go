package main

// allKubercs is empty: kubectl 1.34 has no policy for plugins.
func allKubercs(string, string) ([]Kuberc, error) { return nil, nil }
