// Package image writes OCI image archives, so that a cluster needs neither a registry nor an image builder.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

const mediaTypePrefix = "application/vnd.oci.image."

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Write writes an archive with one layer for each tar file, bottom layer first. entrypoint is split at spaces. name
// must have a tag.
func Write(name, out, entrypoint string, layers []string) (err error) {
	_, tag, ok := strings.Cut(name, ":")
	if !ok {
		return fmt.Errorf("image name %q has no tag", name)
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	archive := &archive{tar.NewWriter(file)}

	var stack []descriptor
	var diffs []string
	for _, layer := range layers {
		d, err := archive.addLayer(layer)
		if err != nil {
			return err
		}
		stack, diffs = append(stack, d), append(diffs, d.Digest)
	}
	config, err := archive.addDocument(mediaTypePrefix+"config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{
			"Entrypoint": strings.Fields(entrypoint),
			"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	manifest, err := archive.addDocument(mediaTypePrefix+"manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": mediaTypePrefix + "manifest.v1+json", "config": config, "layers": stack,
	})
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
	return archive.finish(manifest)
}

type archive struct{ *tar.Writer }

func (a *archive) addLayer(path string) (descriptor, error) {
	file, err := os.Open(path)
	if err != nil {
		return descriptor{}, err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return descriptor{}, err
	}
	return a.addBlob(mediaTypePrefix+"layer.v1.tar", hash.Sum(nil), size, file)
}

func (a *archive) addDocument(mediaType string, document any) (descriptor, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(data)
	return a.addBlob(mediaType, sum[:], int64(len(data)), bytes.NewReader(data))
}

func (a *archive) addBlob(mediaType string, sum []byte, size int64, data io.Reader) (descriptor, error) {
	digest := hex.EncodeToString(sum)
	return descriptor{mediaType, "sha256:" + digest, size, nil}, a.addFile("blobs/sha256/"+digest, size, data)
}

func (a *archive) addFile(path string, size int64, data io.Reader) error {
	if err := a.WriteHeader(&tar.Header{Name: path, Size: size, Mode: 0o644}); err != nil {
		return err
	}
	_, err := io.Copy(a, data)
	return err
}

func (a *archive) finish(manifest descriptor) error {
	documents := map[string]any{
		"oci-layout": map[string]string{"imageLayoutVersion": "1.0.0"},
		"index.json": map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}},
	}
	for path, document := range documents {
		data, err := json.Marshal(document)
		if err != nil {
			return err
		}
		if err := a.addFile(path, int64(len(data)), bytes.NewReader(data)); err != nil {
			return err
		}
	}
	return a.Close()
}
