"""DiffWave: learning to find the noise in a waveform, and drawing waveforms out of noise."""
