# Two commands matter: `make train` and `make test`. Both start from nothing but Python 3.11+ and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: train test readme docs digits survive activations picture cifar10 studies mutants bench gpu kernels exercises explore clean

train: $(STAMP)
	$(BIN)/papermill nbs/train.ipynb runs/train-a2.ipynb -p a_bits 2

test: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/test_all.py

$(STAMP): settings.ini setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,hf]'
	$(BIN)/python -c "from pact_nb.codes import load_codes; from pact_nb.fused import load_fused; why = load_fused(); print('fused operators: ' + (why or 'built')); print('convolutions in codes: ' + (why or load_codes() or 'built'))"
	touch $@

docs: $(STAMP)  ## the documentation site, into build/site; links are checked
	OMP_NUM_THREADS=1 $(BIN)/python scripts/docs.py

readme: $(STAMP)  ## README.md from nbs/index.ipynb
	$(BIN)/python scripts/readme.py --write

digits: $(STAMP)  ## the tables of the README: ten seeds of each setting, into results/study-digits.json; goes on where it was interrupted
	$(BIN)/python scripts/studies.py 24_digits

survive: $(STAMP)  ## what a run survives, counted, into results/survive.json
	OMP_NUM_THREADS=1 $(BIN)/python scripts/survive.py results/survive.json

activations: $(STAMP)  ## data/activations.npz, read by the page on errors: what a trained float network's activations read
	rm -rf runs/activations
	$(BIN)/python -m pact_nb.runs --w_bits 32 --a_bits 32 --activation relu --run_dir runs/activations
	$(BIN)/python -c "from pact_nb.runs import Run, save_activations; save_activations(Run('runs/activations'), 'data/activations.npz')"

cifar10: $(STAMP)  ## the runs of results/cifar10/plan.yaml (or PLAN=file) in the background, days of them; DATA=folder; stop and start at any time
	$(BIN)/python -m pact_nb.queue $(or $(PLAN),results/cifar10/plan.yaml) $(if $(DATA),--data_dir $(DATA))

mutants: $(STAMP)  ## deliberate errors, one at a time: which does no test find? half an hour; the table goes into CONTRIBUTING.md
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/mutants.py --write

studies: $(STAMP)  ## the experiments of the book, from a clean clone; hours; PAGES="06_alpha …"; goes on where it was stopped
	$(BIN)/python scripts/studies.py $(PAGES)

bench: $(STAMP)  ## what a training step costs, into results/bench-cpu.json; about twenty minutes, on an idle machine
	$(BIN)/python -m pact_nb.bench --bits 2,4 --ablations --scaling batch,bits --json results/bench-cpu.json

gpu: $(STAMP)  ## all that a GPU is needed for, nine minutes a call; exit code 3: call again; DATA=folder of CIFAR-10; without a GPU in small
	$(BIN)/python -m pact_nb.gpu_day $(if $(DATA),--data_dir $(DATA)) $(GPU)

kernels: $(STAMP)  ## kernels and bytes of a step for an H100, without one, into results/kernels-*.json; three minutes
	$(BIN)/python -m pact_nb.gpu_kernels --json results/kernels-sm90.json
	$(BIN)/python -m pact_nb.many --json results/kernels-many.json

exercises: $(STAMP)  ## a copy of the book with blank functions, whose tests stay, into build/exercises; OUT=another folder
	$(BIN)/python scripts/exercises.py $(if $(OUT),--out "$(OUT)")

explore: $(STAMP)  ## sliders in a browser, offline; RUN=runs/<name> plays that run back
	PACT_RUN="$(if $(RUN),$$(realpath -s -- "$(RUN)"))" JUPYTER_PATH="$(abspath scripts)" $(BIN)/voila nbs/6_experiments/23_explore.ipynb --template=offline --TagRemovePreprocessor.remove_cell_tags=inside --VoilaConfiguration.extension_denylist=jupyterlab-jupytext $(VOILA)

clean:
	rm -rf $(VENV) build *.egg-info

picture: $(STAMP)  ## nbs/images/pact.png, from a run with 2-bit activations
	rm -rf runs/picture
	$(BIN)/python -m pact_nb.runs --a_bits 2 --run_dir runs/picture
	$(BIN)/python scripts/picture.py runs/picture nbs/images/pact.png
