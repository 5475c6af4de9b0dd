package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBlobNamesAreDigests(t *testing.T) {
	dir := t.TempDir()
	layer, out := filepath.Join(dir, "layer.tar"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(layer, []byte("not really a tar"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write("registry.test/a:1", out, "/bin/a --flag", []string{layer, layer}); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, out)
	for path, data := range files {
		sum := sha256.Sum256(data)
		if digest, ok := strings.CutPrefix(path, "blobs/sha256/"); ok && digest != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is not the digest of its contents", path)
		}
	}

	var index struct{ Manifests []descriptor }
	decode(t, files["index.json"], &index)
	if name := index.Manifests[0].Annotations["io.containerd.image.name"]; name != "registry.test/a:1" {
		t.Errorf("the image name is %q", name)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	decode(t, blob(files, index.Manifests[0]), &manifest)
	if len(manifest.Layers) != 2 || string(blob(files, manifest.Layers[1])) != "not really a tar" {
		t.Errorf("layers are %v", manifest.Layers)
	}
	var config struct {
		Config struct{ Entrypoint []string }
	}
	decode(t, blob(files, manifest.Config), &config)
	if got := strings.Join(config.Config.Entrypoint, "|"); got != "/bin/a|--flag" {
		t.Errorf("entrypoint is %q", got)
	}
}

func TestInvalidArguments(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := Write("no-tag", out, "/bin/a", nil); err == nil || !strings.Contains(err.Error(), "no tag") {
		t.Errorf("a name without a tag: %v", err)
	}
	if err := Write("a:1", out, "/bin/a", []string{"/does/not/exist"}); err == nil {
		t.Error("a layer that does not exist was packed")
	}
}

func unpack(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	files := map[string][]byte{}
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func blob(files map[string][]byte, d descriptor) []byte {
	return files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
